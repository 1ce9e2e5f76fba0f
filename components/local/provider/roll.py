"""Brings the processes of a set to what its inputs say, one replica at a time; on failure puts back what was there.

Where a balancer stands in front, a replica's successor answers before the replica stops, and the balancer knows only
processes that answer. A set without one (the balancer itself) is replaced in place, since nothing could pass requests
on meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from components.local.provider import ports, replicas
from components.local.provider.balancer import Balancer
from components.local.provider.lifecycle import Context, ResourceError
from components.local.provider.programs import hangs, header
from components.local.provider.readiness import Readiness
from components.local.provider.supervisor import Supervisor
from components.local.provider.values import Properties

HANG_SECONDS, HANG_TRIES = 5.0, 2
"""Requests without an answer after which a process that listens is replaced."""


class Roll:
    """One change of one set.

    Args:
        context: the provider's surroundings.
        urn: of the set, for progress.
        supervisor: what runs the processes.
        inputs: what is wanted.
        balancer: the proxy in front, if there is one.
    """

    def __init__(
        self,
        context: Context,
        urn: str,
        supervisor: Supervisor,
        inputs: Properties,
        balancer: Balancer | None,
    ) -> None:
        self.context, self.urn = context, urn
        self.supervisor, self.inputs, self.balancer = supervisor, inputs, balancer
        self.before = supervisor.definitions()
        self.is_first = balancer is not None and not balancer.has_file()
        self.ready = Readiness(context, supervisor, inputs["readySeconds"], inputs.get("portSetting", "port"))
        self.replaced: list[tuple[str, str | None]] = []
        """New process and the one that it replaced, in order."""

    def apply(self) -> None:
        """Makes every replica what is wanted, then stops what is not wanted.

        Raises:
            ResourceError: a process does not become ready; what was there was put back, and the text says so.
        """
        standing: dict[str, str] = {}
        try:
            for replica in replicas.names(self.inputs):
                standing[replica] = self._stand(replica)
                self._publish(standing.values())
                self._stop_others(replica, standing[replica])
        except Exception as error:
            undone = self._put_back()
            if not isinstance(error, (ResourceError, OSError)):
                raise
            raise ResourceError("\n".join([str(error), *undone])) from None
        self._publish(standing.values(), only=True)
        for process in self._mine():
            if process not in standing.values():
                self.supervisor.stop(process)

    def _stand(self, replica: str) -> str:
        """A process of the replica that answers; one that runs already, or a new one."""
        found = self._kept(replica)
        if found is None:
            return self._start(replica)
        port = self._ports()[found]
        self.ready.await_ready(found, port, replicas.url(self.inputs, port))
        return found

    def _kept(self, replica: str) -> str | None:
        """A process that runs what is wanted, where it is wanted, and does not hang."""
        revision, known = replicas.revision(self.inputs, replica), self._ports()
        alive = self.supervisor.revisions()
        for process in (replica, replicas.other_name(replica)):
            port = known.get(process)
            if port is None or port not in replicas.ports(self.inputs) or alive.get(process) != revision:
                continue
            if not hangs(replicas.url(self.inputs, port), HANG_SECONDS, HANG_TRIES):
                return process
            self.supervisor.kill(process)
        return None

    def _start(self, replica: str) -> str:
        """Starts a process of the replica and waits until it answers."""
        known = replicas.of_program(self.inputs["program"], self.before)
        old = next((process for process in known if replicas.replica_of(process) == replica), None)
        beside = self.balancer is not None and old is not None and old in self.supervisor.revisions()
        process = replicas.other_name(old) if beside and old else replica
        self.context.report(self.urn, f"starting {replica}")
        self.replaced.append((process, old))
        for earlier in (process,) if beside else (replica, replicas.other_name(replica)):
            self.supervisor.stop(earlier)
        made = replicas.program(self.inputs, replica, process, self._free_port(replica))
        self.ready.await_port(made)
        self.supervisor.start(made)
        self.ready.await_ready(process, made.port, made.ready)
        return process

    def _free_port(self, replica: str) -> int:
        """A port that none of the set's processes has; in place, the replica's own."""
        own = self.inputs["port"] + replicas.index_of(replica)
        if self.balancer is None:
            return own
        known, alive = self._ports(), self.supervisor.revisions()
        taken = {known[process] for process in self._mine() if process in alive}
        candidates = [port for port in replicas.ports(self.inputs) if port not in taken]
        free = [port for port in candidates if ports.is_free(port)]
        return next((port for port in [own, *free] if port in free), (candidates or [own])[0])

    def _publish(self, standing: Iterable[str], only: bool = False) -> None:
        """Tells the balancer of processes that answer, and of replicas whose turn has not come unless `only`."""
        if self.balancer is None:
            return
        chosen, known = set(standing), self._ports()
        done = {replicas.replica_of(process) for process in chosen}
        if not only:
            alive = self.supervisor.revisions()
            chosen |= {
                process
                for process in self._mine()
                if process in alive and replicas.replica_of(process) not in done
            }
        self.balancer.publish(known[process] for process in chosen)

    def _stop_others(self, replica: str, standing: str) -> None:
        for process in self._mine():
            if replicas.replica_of(process) == replica and process != standing:
                self.supervisor.stop(process)

    def _put_back(self) -> list[str]:
        """Says what became of each process. What fails here is told after the first failure, never instead of it."""
        told: list[str] = []
        for process, old in reversed(self.replaced):
            replica = replicas.replica_of(process)
            try:
                if old is None or old not in self.before:
                    self.supervisor.stop(process)
                    told.append(f"{replica} was stopped again.")
                elif old != process and old in self.supervisor.revisions():
                    self._publish([old])
                    self.supervisor.stop(process)
                    told.append(f"{replica} answers as it did before.")
                else:
                    self._restore(process, old)
                    told.append(f"{replica} was put back as it was before.")
            except (ResourceError, OSError) as error:
                told.append(f"{replica} could not be put back: {error}")
        with contextlib.suppress(OSError):
            self._publish([])
            if self.is_first and self.balancer is not None and not self._mine():
                self.balancer.forget()
        try:
            self.supervisor.shut_down_if_idle()
        except (ResourceError, OSError) as error:
            told.append(str(error))
        return told

    def _restore(self, process: str, old: str) -> None:
        self.supervisor.restore(old, self.before[old])
        stored = header(self.before[old])
        port = stored.port or self.inputs["port"] + replicas.index_of(old)
        # What was there may have been broken before.
        with contextlib.suppress(ResourceError):
            self.ready.await_ready(old, port, stored.ready or replicas.url(self.inputs, port))
        if old != process:
            self._publish([old])
            self.supervisor.stop(process)

    def _mine(self) -> list[str]:
        return replicas.of_program(self.inputs["program"], self.supervisor.definitions())

    def _ports(self) -> Mapping[str, int]:
        """Process -> port. Definitions of earlier versions do not say it: a replica then has its own."""
        return {
            process: stored.port or self.inputs["port"] + replicas.index_of(process)
            for process, stored in self.supervisor.headers().items()
            if process in self._mine()
        }
