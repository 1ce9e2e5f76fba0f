"""Event listener of one supervisord: ends programs that hang, and starts other supervisors that died.

supervisord starts a program again when it ends, but does not notice one that no longer answers. A hung program holds
the requests that reached it until they time out. Once it is ended, its connections are reset, so the proxy sends those
requests to another replica, and supervisord starts it again. Nothing starts supervisord itself, so each looks after the
others beside it: all of them have to die at once before somebody has to run `up`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
from supervisor import childutils

from components.local.provider import daemon
from components.local.provider.control import Control
from components.local.provider.lifecycle import ResourceError
from components.local.provider.programs import Answer, ask, header_of

PROBE_SECONDS = 5.0
"""How long an answer to a probe may take, whatever its status."""
FAILURES = 3
"""Failed probes in a row after which a program hangs. With a round every five seconds that is 15 to 20 seconds."""


@dataclass
class Seen:
    """What is known of one program since its process started."""

    pid: int
    answered: bool = False
    failures: int = 0

    def note(self, answer: Answer, stopped: bool) -> bool:
        """Takes in one probe; whether the program hangs. One that never answered is starting, unless it is stopped; one
        that refuses connections is ending."""
        self.answered = self.answered or answer in (Answer.READY, Answer.NOT_READY)
        counts = answer is Answer.NONE and (self.answered or stopped)
        self.failures = self.failures + 1 if counts else 0
        return self.failures >= FAILURES


class Watch:
    """Args: folder: that of the supervisord whose listener this is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, Seen] = {}

    def round(self) -> None:
        """Probes every program once, and looks at the other supervisors."""
        with Control(self.folder).connection() as rpc:
            running = rpc.getAllProcessInfo() if rpc is not None else []
        pids = {info["name"]: info["pid"] for info in running if info["statename"] == "RUNNING"}
        self.seen = {
            name: self.seen[name] if name in self.seen and self.seen[name].pid == pid else Seen(pid)
            for name, pid in pids.items()
        }
        for name in self._hung(pids):
            say(f"{name} (pid {pids[name]}) no longer answers: ended, to be started again")
            end(pids[name])
        for other in sorted(self.folder.parent.iterdir()):
            if other != self.folder and daemon.should_run(other):
                say(f"the supervisor in {other.name} died: started again")
                with contextlib.suppress(
                    ResourceError, OSError
                ):  # its own log says why; the next round tries again
                    daemon.start(other)

    def _hung(self, pids: dict[str, int]) -> Iterable[str]:
        headers = {name: header_of(self.folder / "programs" / f"{name}.conf") for name in pids}
        urls = {name: header.ready for name, header in headers.items() if header and header.ready}
        with ThreadPoolExecutor(max(1, len(urls))) as pool:
            answers = dict(
                zip(urls, pool.map(lambda url: ask(url, PROBE_SECONDS), urls.values()), strict=True)
            )
        return [name for name, answer in answers.items() if self.seen[name].note(answer, stopped(pids[name]))]


def stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def end(pid: int) -> None:
    """Ends a process and its descendants at once: one that hangs does not stop by itself."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                member.kill()


def say(line: str) -> None:
    """Standard output belongs to supervisord's protocol."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Serves events until supervisord ends."""
    watch = Watch(Path.cwd())
    while True:
        childutils.listener.wait(sys.stdin, sys.stdout)
        try:
            watch.round()
        except (ResourceError, OSError) as error:  # supervisord is ending, or its folder goes
            say(f"round left out: {error}")
        childutils.listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
