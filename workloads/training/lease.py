"""One job at a time on one place for checkpoints: a lease with the run's name and a heartbeat.

A run that was killed takes its own lease over at once, as it has the same name; another run may take it only after the
heartbeat has stopped for as long as the lease says. Who lost the lease notices before the next checkpoint is published.
The store's own clock tells how old a heartbeat is, so the clocks of the machines may differ.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from workloads.training.flags import ConfigError
from workloads.training.store import Store, Unreachable

LEASE = "lease.json"
SETTLE = 0.2  # seconds for two who came at the same moment to see each other


@contextmanager
def leased(stores: Sequence[Store], run: str, seconds: float) -> Iterator[list["Lease"]]:
    """All these places or none for `run`, given back at the end. Raises as `Lease` does."""
    with ExitStack() as ours:
        leases = []
        for store in stores:
            leases.append(Lease(store, run, seconds))
            ours.callback(leases[-1].release)
        yield leases


class LeaseLost(Exception):
    """Another process has taken the place over."""


class Lease:
    def __init__(self, store: Store, run: str, seconds: float) -> None:
        """Take the lease for `run`; it lapses `seconds` after its last heartbeat.

        Raises ConfigError when another run holds it, Unreachable.
        """
        self.store, self.run, self.seconds = store, run, seconds
        self.token = secrets.token_hex(8)
        held = self._held()
        if held and held["run"] != run:
            age = store.age(LEASE)
            if age < held["seconds"]:
                raise self._refusal(held, age)
        self._beat()
        if not held or held["run"] != run:
            time.sleep(SETTLE)
            held = self._held()
            if held and held["token"] != self.token:
                raise self._refusal(held, 0.0)
            if not held:  # who gave the lease back removed ours
                self._beat()
        self._end = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, name="lease", daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Raises LeaseLost when another process holds the lease by now."""
        held = self._held()
        if not held or held["token"] != self.token:
            holder = held["run"] if held else "nobody"
            raise LeaseLost(f"{self.store.uri}: the lease of run {self.run} is now with {holder}")

    def release(self) -> None:
        """Give the lease back, unless it was lost."""
        self._end.set()
        self._heart.join()
        try:
            self.check()
            self.store.remove(LEASE)
        except (LeaseLost, Unreachable):
            return

    def _held(self) -> dict[str, Any] | None:
        """What the lease says; None where there is none, or something that is no lease."""
        held = self.store.read_json(LEASE)
        fields = {"run": str, "token": str, "seconds": (int, float)}
        is_lease = isinstance(held, dict) and all(isinstance(held.get(name), fields[name]) for name in fields)
        return held if is_lease else None

    def _keep_beating(self) -> None:
        """Who takes over between a look and the beat after it is written over; that one finds out, so one goes on."""
        while not self._end.wait(self.seconds / 4):
            try:
                self.check()
                self._beat()
            except LeaseLost:
                return  # the next checkpoint finds out and says so
            except Unreachable:
                continue  # a store that is back before the lease lapses has missed nothing

    def _beat(self) -> None:
        lease = {"run": self.run, "token": self.token, "beat": time.time(), "seconds": self.seconds}
        self.store.write(LEASE, json.dumps(lease).encode())

    def _refusal(self, held: dict[str, Any], age: float) -> ConfigError:
        return ConfigError(
            f"{self.store.uri}: run {held['run']!r} works here, its last heartbeat was "
            f"{max(0.0, age):.0f} s ago and holds for {held['seconds']:.0f} s; take another "
            f"place, wait, or if this is the same run and the other process is dead give --run-id {held['run']}"
        )
