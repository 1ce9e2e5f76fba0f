"""The account behind the stand-ins of one rehearsal: it lives as long as they do, and writes down every call."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from components.local.provider.values import Properties
from tools.rehearsal.account import Account, Call, Held, Identity, judge
from tools.rehearsal.rules import RULES, aws, gcp

ORDERS, CALLS = "orders.json", "calls.jsonl"
"""Files of a rehearsal's folder: what it wants of the account, and what the account was asked for."""
ByItself = Callable[[Held], Identity | None]
BY_ITSELF: tuple[ByItself, ...] = (aws.made_anew, gcp.kept)
"""What a service keeps, or makes by itself, when a resource is deleted."""
POSITION = "refused-position"


class Ledger:
    """Args:
    folder: of the rehearsal.
    by_itself: what services do by themselves when a resource is deleted.
    """

    def __init__(self, folder: Path, by_itself: tuple[ByItself, ...] = BY_ITSELF) -> None:
        self._by_itself = by_itself
        self._orders, self._calls = folder / ORDERS, folder / CALLS
        self._lock = threading.Lock()
        self._given, self._creates = "", 0
        self._present: dict[str, Held] = {}
        self._kept: set[Identity] = set()
        self._lives: Counter[str] = Counter()

    def life(self, urn: str) -> int:
        """How often a resource was made before, not counting the one that exists."""
        with self._lock:
            return max(0, self._lives[urn] - (urn in self._present))

    def create(self, held: Held) -> str:
        """Makes a resource, or says why it is refused."""
        with self._lock:
            orders = self._read()
            self._creates += 1
            if self._creates == orders.get("refuse_create"):
                reason = f"ThrottlingException: Rate exceeded (rehearsal rule {POSITION})"
                self._write("create", held.urn, refused=POSITION)
                return reason
            refusal = self._judge("create", held, orders)
            if not refusal:
                self._present[held.urn] = held
                self._lives[held.urn] += 1
            return refusal

    def update(self, held: Held) -> None:
        with self._lock:
            self._present[held.urn] = held

    def delete(self, urn: str) -> str:
        """Deletes a resource, or says why it is refused."""
        with self._lock:
            held = self._present.get(urn)
            if held is None:
                self._write("delete", urn)
                return ""
            refusal = self._judge("delete", held, self._read())
            if not refusal:
                del self._present[urn]
                self._kept |= {made for rule in self._by_itself if (made := rule(held))}
                if held.type == aws.BUCKET:  # what guards a bucket is part of it, and ends with it
                    ending = [part for part, other in self._present.items() if aws.is_part(other, held)]
                    for part in ending:
                        del self._present[part]
            return refusal

    def _judge(self, call: Call, held: Held, orders: Properties) -> str:
        account = Account(self._present, self._present, self._kept, bool(orders.get("objects")))
        judgement = judge(RULES, account, call, held)
        for rule, text in judgement.refusals:
            self._write(call, held.urn, judgement.judged, rule)
            return f"{text} (rehearsal rule {rule})"
        self._write(call, held.urn, judgement.judged)
        return ""

    def _read(self) -> Properties:
        """The orders; positions count from new ones on."""
        given = self._orders.read_text() if self._orders.exists() else "{}"
        if given != self._given:
            self._given, self._creates = given, 0
        return json.loads(given)

    def _write(self, call: str, urn: str, judged: tuple[str, ...] = (), refused: str = "") -> None:
        line = {"call": call, "urn": urn, "judged": judged, "refused": refused}
        with self._calls.open("a") as calls:
            calls.write(json.dumps(line) + "\n")
