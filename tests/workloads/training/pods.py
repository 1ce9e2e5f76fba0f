"""Pods of a run as processes on loopback, with the words of the Job and of the store that a stack renders.

What a cluster would do is done here: names and variables are filled in, a pod that has ended is replaced or not as the
Job's own podFailurePolicy says, and the Job is complete when its successPolicy says so. The times of the rendezvous are
those of the Job, divided by SCALE.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.ports import free_port
from tests.waiting import until
from tests.workloads.training.machines import go_on, is_gone
from tests.workloads.training.runs import ROOT, TINY
from tools.paths import TOOLKIT

SCALE = 60
WARM = "memory://here-warm"
ASK = """
import json
from tests.unit.k8s.host import named, whole_region
made = whole_region(accelerators=0)
wanted = {"job": (":Job", "train-coder"), "store": (":Deployment", "rendezvous-coder")}
print(json.dumps({key: named(made, *which).inputs["spec"] for key, which in wanted.items()}))
"""


@functools.cache
def rendered() -> dict[str, Any]:
    """The Job of a run of two workers without accelerators, and the Deployment of its store."""
    asked = subprocess.run(
        [TOOLKIT / "bin" / "python", "-c", ASK], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return json.loads(asked.stdout)


def container_of(spec: dict[str, Any]) -> dict[str, Any]:
    (main,) = spec["template"]["spec"]["containers"]
    return main


def action(policy: dict[str, Any], code: int, disrupted: bool) -> str:
    """What a podFailurePolicy does about the end of a pod: the first rule that matches, else it counts."""
    for rule in policy["rules"]:
        codes = rule.get("onExitCodes")
        if codes and codes["operator"] == "In" and code in codes["values"]:
            return rule["action"]
        conditions = rule.get("onPodConditions", [])
        if disrupted and {"type": "DisruptionTarget", "status": "True"} in conditions:
            return rule["action"]
    return "Count"


def scaled(configuration: str) -> str:
    """The same with every time divided, and with heartbeats that a busy machine can keep up."""
    words = dict(word.split("=") for word in configuration.split(","))
    times = {
        name: max(1, int(value) // SCALE) if name.endswith("_timeout") else value
        for name, value in words.items()
    }
    times |= {"keep_alive_interval": 1, "keep_alive_max_attempt": 10}
    return ",".join(f"{name}={value}" for name, value in times.items())


class Pods:
    """Args: folder: of the run; corpus: its text; holds: as in machines.py; steps: how many."""

    def __init__(self, folder: Path, corpus: Path, holds: Sequence[tuple[int, int]], steps: int) -> None:
        self.folder, self.port = folder, free_port()
        self.entry = ["tests.workloads.training.machines", str(folder), json.dumps(holds)]
        self.arguments = [*TINY, f"--data={corpus}", "--checkpoint-every=10", "--keep=99", f"--steps={steps}"]
        self.policy = rendered()["job"]["podFailurePolicy"]
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.ends: list[tuple[int, int, str]] = []
        """Of every pod that has ended: its index, its exit code, and what the policy does about it."""
        self.complete = False
        self.store: subprocess.Popen[bytes] | None = None

    def start_store(self) -> None:
        self.store = self._process(rendered()["store"], "store", {})

    def lose_store(self) -> None:
        assert self.store
        self.store.kill()
        self.store.wait()

    def start(self, index: int) -> None:
        words = {"$(JOB_UID)": "uid-of-the-job"}
        self.running[index] = self._process(rendered()["job"], f"pod-{index}", words, self.arguments)

    def lose(self, index: int) -> None:
        """The pod's node is gone: no process of it gets a signal that it could answer."""
        process = self.running.pop(index)
        workers = psutil.Process(process.pid).children()
        process.kill()
        self._end(index, 128 + -process.wait(), disrupted=True)
        self.until(lambda: all(is_gone(worker) for worker in workers))

    def let_go_on(self, world: int, step: int | None = None) -> None:
        (self.folder / go_on(world, step)).touch()

    def until(self, fulfilled: Callable[[], bool]) -> None:
        """Do what a Job's controller does until that is so."""
        until(lambda: self._control() and fulfilled(), self.everything)

    def _control(self) -> bool:
        assert self.complete or "FailJob" not in [what for _, _, what in self.ends], self.everything()
        for index, process in list(self.running.items()):
            if process.poll() is not None:
                del self.running[index]
                self._end(index, process.returncode, disrupted=False)
                if process.returncode and not self.complete:
                    self.start(index)
        return True

    def until_step(self, step: int, world: int) -> None:
        """Wait until a line tells of that step, in a round of so many workers."""
        told = f'"world_size": {world}'
        latest = self.folder / "checkpoints" / "latest"

        def reached() -> bool:
            logs = self.everything()
            facts = latest.parent / latest.read_text() / "checkpoint.json" if latest.exists() else None
            kept = facts is not None and facts.exists() and told in facts.read_text()
            return kept and f'"step": {step},' in logs

        self.until(reached)

    @property
    def counted(self) -> list[tuple[int, int, str]]:
        return [end for end in self.ends if end[2] == "Count" and end[1]]

    def log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def everything(self) -> str:
        logs = [f"=== {file.stem}\n{file.read_text()}" for file in sorted(self.folder.glob("*.log"))]
        return "\n".join([str(self.ends), *logs])

    def _end(self, index: int, code: int, *, disrupted: bool) -> None:
        self.complete |= code == 0
        self.ends.append((index, code, action(self.policy, code, disrupted)))

    def _process(
        self, spec: dict[str, Any], name: str, words: dict[str, str], more: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        main = container_of(spec)
        command = [self._word(word, words) for word in main["command"]]
        if "--rdzv-conf" in command:
            at = command.index("--rdzv-conf") + 1
            command[at] = scaled(command[at])
            module = command.index("workloads.training.train")
            command[module : module + 1] = self.entry
        if name == "store":
            command[command.index("--port") + 1] = str(self.port)
        given = {one["name"]: one["value"] for one in main["env"] if "value" in one}
        environment = {**os.environ, **given, "GLOO_SOCKET_IFNAME": "lo", "TMPDIR": str(self.folder)}
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen([*command, *more], cwd=ROOT, env=environment, stdout=log, stderr=log)

    def _word(self, word: str, words: dict[str, str]) -> str:
        if word == "python":
            return sys.executable
        if word.startswith("rendezvous-coder:"):
            return f"127.0.0.1:{self.port}"
        if word.startswith(WARM):
            return str(self.folder / ("checkpoints" if word.endswith("-checkpoints") else "model"))
        return {"$(POD_IP)": "127.0.0.1", **words}.get(word, word)


@contextmanager
def pods(*given: Any) -> Iterator[Pods]:
    """Pods, and the end of all that they started."""
    made = Pods(*given)
    try:
        yield made
    finally:
        for process in [*made.running.values(), *([made.store] if made.store else [])]:
            process.kill()  # a worker goes with its launcher
            process.wait()
