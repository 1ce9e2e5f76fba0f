"""A training run that something befalls: each life is a process of its own, forked after torch is loaded.

    python -m tests.workloads.training.lives SPECIFICATION

The specification is JSON: a list of lives, each with the entry's `arguments` and the `events` that befall it: `point`
and `occurrence` say when, `act` says what. The acts are real: signals to the process itself, a limit on the size of
files, a store that is moved away, a damaged file. The result on stdout is JSON: for each life its exit code (negative
for a signal), what it said on stderr, and what its end left in a folder: `latest`, and the newest name with facts.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # AdamW asks for it: loaded once here rather than in every life
from fsspec.core import url_to_fs

from tests.workloads.training.runs import ROOT
from workloads.training import train
from workloads.training.checkpoint import FACTS, LATEST, Checkpoints
from workloads.training.checkpoint_files import FsspecWriter
from workloads.training.preemption import Preemption
from workloads.training.store import Store

Wanted = Callable[[tuple[Any, ...]], bool]


def always(given: tuple[Any, ...]) -> bool:
    return True


def named(end: str) -> Wanted:
    return lambda given: given[1].endswith(end)


POINTS: dict[str, tuple[Any, str, str, Wanted]] = {
    "start": (train, "load_corpus", "before", always),
    "step": (train, "take_step", "before", always),
    "copied": (Checkpoints, "_write", "before", always),
    "first file": (FsspecWriter, "write_data", "before", always),
    "files": (FsspecWriter, "write_data", "after", always),
    "metadata": (FsspecWriter, "finish", "after", always),
    "facts": (Store, "write", "after", named(FACTS)),
    "latest": (Store, "write", "before", named(LATEST)),
    "published": (Store, "write", "after", named(LATEST)),
    "retention": (Store, "remove", "before", named("0")),
    "given up": (Store, "remove", "before", named("20")),
    "evaluation": (train, "evaluate", "before", always),
    "asked": (Preemption, "asked", "after", always),
}
FLUSH = ("copied", "first file", "files", "metadata", "facts", "latest", "published", "retention")


def kill(place: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate(place: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def dawdle(place: Path) -> None:
    """Longer than a few steps take."""
    time.sleep(1)


def fill_disk(place: Path) -> None:
    """No file may grow past 100 kB; the operating system then refuses, as it does on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))


def free_disk(place: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def fill_volume(place: Path) -> None:
    """Not a byte more fits on the file system that the place is on: a small one, made for that."""
    with suppress(OSError), open(place.parent / "ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(512))


def free_volume(place: Path) -> None:
    (place.parent / "ballast").unlink()


def lose_store(place: Path) -> None:
    """The store is gone and nothing can be made in its stead."""
    place.rename(place.with_name("away"))
    place.write_text("")


def newest(place: Path) -> Path:
    return place / (place / LATEST).read_text()


def cut(place: Path) -> None:
    os.truncate(newest(place) / "__0_0.distcp", 1000)


def alter(place: Path) -> None:
    with open(newest(place) / "__0_0.distcp", "r+b") as file:
        file.seek(3000)
        file.write(b"altered")


def lose_file(place: Path) -> None:
    (newest(place) / ".metadata").unlink()


def lose_facts(place: Path) -> None:
    (newest(place) / FACTS).unlink()


def alter_facts(place: Path) -> None:
    """It tells of one step more than was taken."""
    facts = newest(place) / FACTS
    content = facts.read_text()
    facts.write_text(content.replace('"step": 60', '"step": 61'))


def lose_latest(place: Path) -> None:
    (place / LATEST).unlink()


def empty_latest(place: Path) -> None:
    (place / LATEST).write_text("")


def alter_object(uri: str) -> None:
    files = url_to_fs(uri)[0]
    latest = files.cat_file(f"{uri}/{LATEST}").decode()
    files.pipe_file(f"{uri}/{latest}/__0_0.distcp", b"altered")


def stop_store(place: object) -> None:
    """The process of the object store that the environment names is killed."""
    os.kill(int(os.environ["STORE_PROCESS"]), signal.SIGKILL)


ACTS: dict[str, Callable[[Any], None]] = {
    "kill": kill,
    "terminate": terminate,
    "dawdle": dawdle,
    "fill disk": fill_disk,
    "free disk": free_disk,
    "fill volume": fill_volume,
    "free volume": free_volume,
    "lose store": lose_store,
    "cut": cut,
    "alter": alter,
    "lose file": lose_file,
    "lose facts": lose_facts,
    "alter facts": alter_facts,
    "lose latest": lose_latest,
    "empty latest": empty_latest,
    "alter object": alter_object,
    "stop store": stop_store,
}


def arm(point: str, occurrence: int, act: Callable[[], None]) -> None:
    """Let the act happen when the point is passed for that many times."""
    owner, name, when, wanted = POINTS[point]
    original, passed = getattr(owner, name), 0

    def watched(*given: Any, **more: Any) -> Any:
        nonlocal passed
        hit = wanted(given)
        passed += hit
        now = hit and passed == occurrence
        if now and when == "before":
            act()
        result = original(*given, **more)
        if now and when == "after":
            act()
        return result

    setattr(owner, name, watched)


def where(arguments: list[str]) -> Any:
    """The place for checkpoints: a folder, or an address as it was given."""
    given = arguments[arguments.index("--checkpoints") + 1]
    return given if "://" in given else Path(given)


def live(life: dict[str, Any]) -> None:
    """One life in this process; never returns."""
    arguments = life["arguments"]
    place = where(arguments)
    for event in life.get("events", []):
        act = ACTS[event["act"]]
        arm(event["point"], event["occurrence"], lambda act=act: act(place))
    try:
        code = train.main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)


def lead(lives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Live them one after the other."""
    torch.set_num_threads(1)
    results = []
    for life in lives:
        with tempfile.TemporaryFile() as said:
            child = os.fork()
            if child == 0:
                os.dup2(said.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                live(life)
            _, status = os.waitpid(child, 0)
            said.seek(0)
            text = said.read().decode()
        ended = {"code": os.waitstatus_to_exitcode(status), "said": text}
        results.append(ended | left(where(life["arguments"])))
    return results


def left(place: Any) -> dict[str, str]:
    """`latest`, and the newest checkpoint that has its facts, named there or not yet; empty where there is none."""
    if not isinstance(place, Path):
        return {"latest": "", "newest": ""}
    latest = (place / LATEST).read_text() if (place / LATEST).exists() else ""
    newest = max((facts.parent.name for facts in place.glob(f"*/{FACTS}")), default="")
    return {"latest": latest, "newest": newest}


def lived(*lives: dict[str, Any], within: Sequence[str] = ()) -> list[dict[str, Any]]:
    """For tests: the lives' results, from a process that loads torch once and has run nothing itself.

    `within` are words of a command that runs the rest of its words in a place of its own.
    """
    command = [*within, sys.executable, "-m", "tests.workloads.training.lives", json.dumps(lives)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def told(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON lines of a life."""
    return [json.loads(line) for line in result["said"].splitlines() if line.startswith("{")]


def at_step(latest: str) -> int:
    """The step that a checkpoint's name tells; 0 for none."""
    found = re.fullmatch(r"step-(\d+)", latest)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    print(json.dumps(lead(json.loads(sys.argv[1]))))
