"""Checkpoints: written while the training goes on, published only when whole, and found again by whoever goes on.

    PLACE/latest                     the name of the newest published checkpoint
    PLACE/step-00000120/             torch.distributed.checkpoint's files: weights, moments, random states
    PLACE/step-00000120/checkpoint.json   the facts of the run at that step, the SHA-256 of every other file and its own
    PLACE/lease.json                 who works here

A checkpoint is published in this order: all files; their content read back and put into checkpoint.json; `latest`; then
older ones go. Whatever dies in between leaves `latest` on a whole checkpoint. A checkpoint is loaded only if every file
has the content that checkpoint.json tells and the metadata call for no code; else the one before it is, and a line says
so. Without a readable `latest` the newest whole one is. What is no checkpoint of ours is left alone.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.utils._pytree import tree_map_only

from workloads.training.checkpoint_files import (
    METADATA,
    Reader,
    SafePlanner,
    Writer,
    reason,
    share,
    tensor_names,
)
from workloads.training.flags import ConfigError
from workloads.training.lease import Lease, LeaseLost
from workloads.training.lines import Lines
from workloads.training.store import Store, Unreachable, waits
from workloads.training.workers import Workers

Result = TypeVar("Result")

FACTS, LATEST = "checkpoint.json", "latest"
STEP = re.compile(r"step-\d{8}")
OURS = re.compile(
    r"__\d+_\d+\.distcp|\.metadata|checkpoint\.json"
)  # how names of files in such a folder begin


@dataclass
class Learner:
    """What a checkpoint holds."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer

    def tensors(self, ranks: list[int]) -> dict[str, Any]:
        """Weights, moments and the random states of these ranks, under names that do not depend on the workers."""
        weights, moments = get_state_dict(self.model, self.optimizer)
        random = {str(rank): torch.get_rng_state() for rank in ranks}
        if torch.cuda.is_available():
            random |= {f"cuda-{rank}": torch.cuda.get_rng_state() for rank in ranks}
        return {"model": weights, "optimizer": moments, "random": random}

    def take(self, tensors: dict[str, Any]) -> None:
        """Go on from such tensors."""
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=tensors["model"],
            optim_state_dict=tensors["optimizer"],
        )
        for name, state in tensors["random"].items():
            (torch.cuda.set_rng_state if name.startswith("cuda") else torch.set_rng_state)(state)


class Checkpoints:
    """A run's checkpoints at one place, and at a second one when the first cannot be reached."""

    def __init__(
        self,
        places: list[Store],
        keep: int,
        workers: Workers,
        leases: Sequence[Lease] = (),
        lines: Lines | None = None,
    ) -> None:
        """`leases` are rank 0's, on the places; `lines` hear what becomes of checkpoints."""
        self.places, self.keep, self.workers, self.leases = places, keep, workers, leases
        self._tell = (lines or Lines(workers.rank)).tell
        self.group = workers.group()
        self.stall = 0.0  # seconds that the training stood still for checkpoints, so far
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, learner: Learner, facts: dict[str, Any]) -> None:
        """Copy the learner's state and write it behind the training's back; `facts` (JSON values) hold its step.

        One at a time: waits for the one before. Raises what went wrong with that one, if it matters to the run.
        """
        began = time.perf_counter()
        self._finish_pending()
        rank, world = self.workers.rank, self.workers.world
        ours = share(learner.tensors([rank]), rank, world)
        copied = tree_map_only(Tensor, lambda each: each.detach().to("cpu", copy=True), ours)
        self._pending = self._thread.submit(self._write, copied, {**facts, "world_size": world})
        self.stall += time.perf_counter() - began

    def finish(self) -> bool:
        """Wait for what is being written; whether it was published."""
        began = time.perf_counter()
        published = self._finish_pending()
        self.stall += time.perf_counter() - began
        return published

    def restore(self, learner: Learner, identity: dict[str, Any]) -> dict[str, Any] | None:
        """Load the newest whole checkpoint into the learner; its facts, or None where there is none.

        Raises ConfigError when its facts differ from `identity`: it is of another model or of other data; Unreachable.
        """
        chosen = self._by_the_first(self._newest_whole)
        if chosen is None:
            return None
        address, facts, kept = chosen
        for name, ours in identity.items():
            if facts.get(name) != ours:
                raise ConfigError(
                    f"checkpoints: {address} has {name}={facts.get(name)!r} and this run {ours!r}; take another "
                    "place, or the settings and data of the run that began there"
                )
        tensors = learner.tensors([self.workers.rank])
        for name in list(tensors["random"]):
            if f"random.{name}" not in kept:  # that worker or kind of device was not there
                del tensors["random"][name]
        try:
            load(
                tensors,
                storage_reader=Reader(address),
                planner=SafePlanner(),
                process_group=self.group,
                no_dist=self.group is None,
            )
        except CheckpointException as error:
            raise Unreachable(f"{address}: cannot be loaded: {reason(error)}; start again") from None
        learner.take(tensors)
        return facts

    def _finish_pending(self) -> bool:
        if self._pending is None:
            return True
        pending, self._pending = self._pending, None
        try:
            pending.result()
        except LeaseLost:
            raise
        except Exception as error:
            self._tell({"checkpoint": "failed", "why": f"{type(error).__name__}: {error}"})
            return False
        return True

    def _write(self, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write and publish at the first place that takes it. All workers go through this alike."""
        began, why = time.perf_counter(), ""
        for store in self.places:
            why = self._try(store, tensors, facts)
            if not why:
                told = {"checkpoint": "published", "at_step": facts["step"], "place": store.uri}
                self._tell({**told, "flush_seconds": round(time.perf_counter() - began, 3)})
                return
            self._tell({"checkpoint": "refused by its place", "place": store.uri, "why": why})
            with suppress(OSError, Unreachable):
                self._by_the_first(lambda store=store: self._give_up(store, step_name(facts["step"])))
        places = " and ".join(store.uri for store in self.places)
        raise OSError(
            f"step {facts['step']} could not be kept at {places}; the last reason was {why}; make room there, or see "
            "that it can be reached; --fallback names a second place; until then the last checkpoint is the one before"
        )

    def _try(self, store: Store, tensors: dict[str, Any], facts: dict[str, Any]) -> str:
        """As `_write_to`, at least twice, until the store's patience is over: its client may have tried for long."""
        began, why = time.perf_counter(), ""
        for number, seconds in enumerate(waits(store.patience)):
            why = self._write_to(store, tensors, facts)
            if not why or (
                number and self._by_the_first(lambda: time.perf_counter() - began > store.patience)
            ):
                break
            time.sleep(seconds)
        return why

    def _write_to(self, store: Store, tensors: dict[str, Any], facts: dict[str, Any]) -> str:
        """Why it could not be written, empty when it was: the same on every worker, whichever of them failed.

        Raises LeaseLost.
        """
        folder = step_name(facts["step"])
        writer = Writer(store.within(folder))
        try:
            self._by_the_first(lambda: self._check_lease(store))
            save(tensors, storage_writer=writer, process_group=self.group, no_dist=self.group is None)
            self._by_the_first(lambda: self._publish(store, folder, facts))
        # The first is no Exception to Python; what befell one worker, all are told.
        except (CheckpointException, OSError, Unreachable) as error:
            return reason(error)
        return ""

    def _by_the_first(self, act: Callable[[], Result]) -> Result:
        """What rank 0 gets by `act`, on every worker. Raises there too: LeaseLost, Unreachable, else OSError."""
        outcome: list[Any] = [None, None]
        if self.workers.rank == 0:
            try:
                outcome[0] = act()
            except Exception as error:
                kind = type(error) if isinstance(error, LeaseLost | Unreachable) else OSError
                outcome[1] = kind(str(error) if kind is not OSError else reason(error))
        if self.group:
            dist.broadcast_object_list(outcome, src=0, group=self.group)
        if outcome[1]:
            raise outcome[1]
        return outcome[0]

    def _publish(self, store: Store, folder: str, facts: dict[str, Any]) -> None:
        files = {name: digest for name, digest in store.digests(folder).items() if name != FACTS}
        if METADATA not in files:
            raise OSError(f"{folder} has no {METADATA}")
        store.write(f"{folder}/{FACTS}", sealed({**facts, "files": files}))
        self._check_lease(store)  # so late that whoever took over has not been published over
        store.write(LATEST, folder.encode())
        names = step_names(store)
        given_up, kept = [name for name in names if name > folder], [name for name in names if name <= folder]
        for name in given_up + kept[: -self.keep]:  # given up: not whole when this life began below it
            store.remove(name)

    def _give_up(self, store: Store, folder: str) -> None:
        """Remove what is there of a checkpoint: it would count among those to keep. Raises LeaseLost, Unreachable."""
        self._check_lease(store)  # whoever took over may have published the same step
        store.remove(folder)

    def _check_lease(self, store: Store) -> None:
        for lease in self.leases:
            if lease.store is store:
                lease.check()

    def _published(self, store: Store) -> list[str]:
        """What was published there; what a writer left that died before is removed."""
        latest = (store.read(LATEST) or b"").decode(errors="replace")
        names = step_names(store)
        if STEP.fullmatch(latest):
            published = [name for name in names if name <= latest]
        elif published := [name for name in names if FACTS in store.names(name)]:
            why = f"{LATEST} is missing or unreadable; the newest whole checkpoint is taken"
            self._tell({"checkpoint": "sought", "place": store.uri, "why": why})
        for name in names:
            if name not in published:
                store.remove(name)
        return published

    def _newest_whole(self) -> tuple[str, dict[str, Any], set[str]] | None:
        """Its address, its facts, and the names of what is in it."""
        found = [(name, store) for store in self.places for name in self._published(store)]
        for name, store in sorted(found, key=lambda each: each[0], reverse=True):
            facts = unsealed(store.read(f"{name}/{FACTS}") or b"")
            wrong = _difference(facts, store.digests(name)) if facts else f"{FACTS} is missing or altered"
            if facts and not wrong:
                try:
                    kept = tensor_names(store.read(f"{name}/{METADATA}") or b"")
                except UnpicklingError as error:
                    wrong = str(error)
                else:
                    self._tell({"checkpoint": "loaded", "at_step": facts["step"], "place": store.uri})
                    return store.within(name), facts, kept
            self._tell({"checkpoint": "not loaded", "place": store.within(name), "why": wrong})
        return None


def step_name(step: int) -> str:
    return f"step-{step:08d}"


def step_names(store: Store) -> list[str]:
    """The folders of checkpoints, whole or not; another program's that have such a name are not among them."""
    folders = {name: store.names(name) for name in store.names() if STEP.fullmatch(name)}
    return [name for name, files in folders.items() if not files or any(map(OURS.match, files))]


def sealed(facts: dict[str, Any]) -> bytes:
    """Facts as JSON that tells whether it was altered."""
    return json.dumps({"sha256": _seal(facts), **facts}, indent=1).encode()


def unsealed(content: bytes) -> dict[str, Any] | None:
    """The facts; None where they are not what was sealed."""
    try:
        facts = json.loads(content)
        return facts if facts.pop("sha256") == _seal(facts) else None
    except (ValueError, AttributeError, KeyError, TypeError):
        return None


def _seal(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _difference(facts: dict[str, Any], found: dict[str, str]) -> str:
    """What is wrong with a checkpoint whose files have these digests; empty when nothing is."""
    wrong = [name for name, digest in sorted(facts["files"].items()) if found.get(name) != digest]
    return f"{', '.join(wrong)} is missing or altered" if wrong else ""
