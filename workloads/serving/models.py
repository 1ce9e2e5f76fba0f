"""All that one server serves: each model with a state and an engine of its own, behind one door."""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from workloads.serving.auth import Door
from workloads.serving.exchange import Exchange
from workloads.serving.limits import Limits
from workloads.serving.metrics import Metrics
from workloads.serving.protocol import ApiError, cut, queue_full
from workloads.serving.state import State

LAST_BODY_SECONDS = 1.0
"""For a body to arrive in a drain: most come right behind their head, and a connection that is closed before its body
was read is reset, which can take the answer with it."""


@dataclass
class Models:
    """Ready when all of them are: whoever sends requests here may ask for any."""

    states: Sequence[State]
    """At least one, each with another name."""
    door: Door
    limits: Limits
    metrics: Metrics
    open_answers: int = field(default=0, init=False)
    """Requests whose answer is not completely handed to the network yet."""

    asked_at: float = field(default=-math.inf, init=False)
    """When a request was last answered, or refused for no fault of its own, in seconds of the monotonic clock."""

    _patiences: set[asyncio.Timeout] = field(default_factory=set, init=False)
    _large_bodies: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._by_name = {state.name: state for state in self.states}

    def get(self, name: str) -> State:
        """The model called `name`, ready or not. Raises ApiError(404) with the names there are."""
        if name not in self._by_name:
            names = ", ".join(map(repr, self._by_name))
            message = (
                f"model {cut(name)!r} is not served here; served {'are' if self.several else 'is'} {names}"
            )
            raise ApiError(404, message, "model", code="model_not_found")
        return self._by_name[name]

    @property
    def several(self) -> bool:
        return len(self.states) > 1

    @property
    def ready(self) -> bool:
        return all(state.ready for state in self.states)

    @property
    def draining(self) -> bool:
        return any(state.draining for state in self.states)

    @property
    def version(self) -> str:
        """Of each model, in their order."""
        return ",".join(state.version for state in self.states)

    def drain(self) -> None:
        """Take nothing new from now on."""
        for state in self.states:
            state.draining = True

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """While a body arrives. Raises TimeoutError where it takes longer than it may, or than a drain waits for it."""
        seconds = self.limits.body_seconds
        async with asyncio.timeout(min(LAST_BODY_SECONDS, seconds) if self.draining else seconds) as patience:
            self._patiences.add(patience)
            try:
                yield
            finally:
                self._patiences.discard(patience)

    @contextmanager
    def large_body(self) -> Iterator[None]:
        """While a large body arrives. Raises ApiError(429) where as many come as may."""
        if self._large_bodies >= self.limits.large_bodies:
            raise queue_full()
        self._large_bodies += 1
        try:
            yield
        finally:
            self._large_bodies -= 1

    def end_receiving(self) -> None:
        """Wait no longer for bodies than a drain does; from the event loop, as often as wanted."""
        latest = asyncio.get_running_loop().time() + LAST_BODY_SECONDS
        for patience in self._patiences:
            if not patience.expired() and (patience.when() or 0) > latest:
                patience.reschedule(latest)

    def cancel(self, told: Exchange) -> None:
        """End an answer that nobody waits for."""
        if told.job is not None:
            self.get(told.model).cancel(told.job)

    def cancel_all(self) -> None:
        """End all answers early, for a shutdown that ran out of time."""
        for state in self.states:
            state.cancel_all()

    def headers(self, told: Exchange) -> dict[str, str]:
        """Response headers naming the version of the model that answers and, where the environment says it, this
        replica. Where there are several models, an answer of none of them names none."""
        placed = {"x-skerry-region": "SKERRY_REGION", "x-skerry-replica": "SKERRY_REPLICA"}
        found = {header: os.environ[name] for header, name in placed.items() if os.environ.get(name)}
        state = self._by_name.get(told.model, None if self.several else self.states[0])
        return {"x-skerry-model-digest": state.digest, **found} if state else found
