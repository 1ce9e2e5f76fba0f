"""Connections that do not hold the server up: time for a request's head, for what is left of its body when it is
answered already, and for an answer to be taken."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REST_BYTES = 4 * 1024 * 1024  # of a body behind its answer: most clients send theirs before they read


class Patient(H11Protocol):
    """uvicorn's own protocol, which closes connections that stay idle after an answer, and no others."""

    seconds = 30.0
    """For the whole head of a request to arrive, for the rest of one that is answered already, and for a client to
    take what its connection's buffer holds."""
    _owed: asyncio.TimerHandle | None = None
    _rest = 0
    _take: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()
        self._rest = self._rest + len(data) if self._answered else 0
        if self._rest > REST_BYTES:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._owed, self._take):
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

    @property
    def _answered(self) -> bool:
        """Whether the request that still arrives is answered already, as one that is refused by its head."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _watch(self) -> None:
        """One deadline for a whole head, and for a whole rest, however many bytes trickle in."""
        coming = self.conn.their_state is h11.IDLE or self._answered
        if coming and self._owed is None:
            self._owed = self.loop.call_later(self.seconds, self.transport.close)
        elif not coming and self._owed is not None:
            self._owed.cancel()
            self._owed = None


def patient(seconds: float) -> type[Patient]:
    """The protocol with a patience of `seconds`."""
    return type("Patient", (Patient,), {"seconds": seconds})
