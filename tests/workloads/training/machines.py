"""Machines of a run, for tests: a launcher each, all on loopback, which meet at a store of their own.

    python -m workloads.training.torchrun ... -m tests.workloads.training.machines FOLDER HOLDS ARGUMENTS...

is the training entry with ARGUMENTS, held before some steps so that what befalls it does so at a known one: HOLDS is
JSON, pairs of a number of workers and a step. A worker goes on when it is asked to stop, or when so many workers are
let go on, at this step or at every step.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.waiting import until
from tests.workloads.training.runs import ROOT, TINY
from workloads.training import train
from workloads.training.step import Run
from workloads.training.workers import end_process

# Short, so that a test waits seconds for a launcher that is gone; torchrun's own are 30, 5 and 3.
TIMES = "last_call_timeout=2,keep_alive_interval=1,keep_alive_max_attempt=10"


class Machines:
    def __init__(
        self, folder: Path, corpus: Path, holds: Sequence[tuple[int, int]], *more: str, restarts: int = 3
    ) -> None:
        """One or two machines at a time. `more`: further arguments of the entry; `restarts` as torchrun's."""
        self.folder, self.restarts = folder, restarts
        self.entry = ["-m", "tests.workloads.training.machines", str(folder), json.dumps(holds)]
        self.checkpoints, self.model = folder / "checkpoints", folder / "model" / "model.safetensors"
        self.arguments = [*TINY, f"--data={corpus}", f"--output={folder / 'model'}", "--run-id=one"]
        self.arguments += [f"--checkpoints={self.checkpoints}", "--checkpoint-every=20", "--keep=99", *more]
        self.environment = {**os.environ, "TMPDIR": str(folder)}
        # What the product sets on one machine: no launcher serves a store, gloo stays on loopback.
        self.environment |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "GLOO_SOCKET_IFNAME": "lo"}
        self.running: list[subprocess.Popen[str]] = []
        self.open_meeting_place()

    def open_meeting_place(self) -> None:
        command = [sys.executable, "-m", "workloads.training.rendezvous", "--port", "0"]
        self.meeting = self._start(command, stdout=subprocess.PIPE)
        assert self.meeting.stdout
        self.endpoint = json.loads(self.meeting.stdout.readline())["endpoint"]

    def start(self, name: str, meeting: str = "one") -> subprocess.Popen[str]:
        """A machine's launcher; what it and its worker say is added to the machine's log."""
        command = [
            sys.executable,
            "-m",
            "workloads.training.torchrun",
            "--nnodes",
            "1:2",
            "--nproc-per-node",
            "1",
        ]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", self.endpoint, "--rdzv-id", meeting]
        command += ["--rdzv-conf", f"is_host=false,{TIMES}", "--local-addr", "127.0.0.1"]
        command += ["--max-restarts", str(self.restarts), *self.entry, *self.arguments]
        with open(self.folder / f"{name}.log", "ab") as log:
            return self._start(command, stdout=log, stderr=log)

    def kill(self, launcher: subprocess.Popen[str]) -> None:
        """Kill a machine's launcher, and wait until its worker is gone with it."""
        workers = psutil.Process(launcher.pid).children()
        launcher.kill()
        launcher.wait()
        self._wait(lambda: all(is_gone(worker) for worker in workers))

    def log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def steps(self) -> list[dict[str, Any]]:
        """The steps told by any machine so far, each machine's in its own order."""
        logs = "".join(self.log(file.stem) for file in sorted(self.folder.glob("*.log")))
        return [json.loads(line) for line in re.findall(r'\{"step".*?\}', logs)]

    def worlds(self) -> dict[int, int]:
        """How many workers wrote each published checkpoint."""
        latest = self.checkpoints / "latest"
        files = self.checkpoints.glob("step-*/checkpoint.json") if latest.exists() else []
        facts = [json.loads(file.read_text()) for file in files if file.parent.name <= latest.read_text()]
        return {each["step"]: each["world_size"] for each in facts}

    def let_go_on(self, world: int, step: int | None = None) -> None:
        (self.folder / go_on(world, step)).touch()

    def until(self, step: int, kept: int, world: int) -> None:
        """Wait until that step is told, and the checkpoint of step `kept` published by so many workers."""
        self._wait(
            lambda: self.worlds().get(kept) == world and step in [line["step"] for line in self.steps()]
        )

    def until_said(self, name: str, words: str, times: int = 1) -> None:
        """Wait until the machine's log has these words so many times."""
        self._wait(lambda: self.log(name).count(words) >= times)

    def _wait(self, fulfilled: Callable[[], bool]) -> None:
        def come() -> bool:
            if fulfilled():
                return True
            assert any(launcher.poll() is None for launcher in self.running[1:]), self.everything()
            return False

        until(come, self.everything)

    def everything(self) -> str:
        return "\n".join(f"=== {file.stem}\n{file.read_text()}" for file in sorted(self.folder.glob("*.log")))

    def listening(self) -> list[str]:
        """The addresses on which anything of it listens."""
        found = []
        for process in self.running:
            here = psutil.Process(process.pid)
            for each in (here, *here.children(recursive=True)):
                found += [one.laddr.ip for one in each.net_connections() if one.status == psutil.CONN_LISTEN]
        return found

    def _start(self, command: list[str], **how: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, cwd=ROOT, env=self.environment, text=True, **how)
        self.running.append(process)
        return process


def go_on(world: int, step: int | None = None) -> str:
    """The file that lets so many workers go on, at this step or at every step."""
    return f"go-on-{world}" if step is None else f"go-on-{world}-{step}"


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # nobody may be there to reap it
    except psutil.NoSuchProcess:
        return True


@contextmanager
def machines(*given: Any, **more: Any) -> Iterator[Machines]:
    """Machines, and the end of all that they started."""
    made = Machines(*given, **more)
    try:
        yield made
    finally:
        for process in made.running:
            process.kill()  # a worker goes with its launcher
            process.wait()
            if process.stdout:
                process.stdout.close()


def held(arguments: Sequence[str]) -> int:
    folder, holds, step = Path(arguments[0]), json.loads(arguments[1]), train.take_step

    def take_step(run: Run) -> Any:
        world, step_now = run.workers.world, run.step
        files = [folder / go_on(world), folder / go_on(world, step_now)]
        while [world, step_now] in holds and not any(file.exists() for file in files):
            if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
                break  # it was asked to stop: preemption.py heeds the first one only
            time.sleep(0.02)
        return step(run)

    train.take_step = take_step
    return train.main(arguments[2:])


if __name__ == "__main__":
    end_process(held, sys.argv[1:])
