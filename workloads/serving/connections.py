"""Connections that do not hold the server up: time for a request's head, and for an answer to be taken."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class Patient(H11Protocol):
    """uvicorn's own protocol, which closes connections that stay idle after an answer, and no others."""

    seconds = 30.0
    """For the whole head of a request to arrive, and for a client to take what its connection's buffer holds."""
    _head: asyncio.TimerHandle | None = None
    _take: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head, self._take):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._take = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._take is not None:
            self._take.cancel()
            self._take = None

    def _watch_head(self) -> None:
        """One deadline for a whole head, however many bytes trickle in."""
        coming = self.conn.their_state is h11.IDLE
        if coming and self._head is None:
            self._head = self.loop.call_later(self.seconds, self.transport.close)
        elif not coming and self._head is not None:
            self._head.cancel()
            self._head = None


def patient(seconds: float) -> type[Patient]:
    """The protocol with a patience of `seconds`."""
    return type("Patient", (Patient,), {"seconds": seconds})
