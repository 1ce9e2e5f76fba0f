"""Serve first, compile behind: a server answers on the plain path until its compiled layers are there."""

import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from workloads.serving.artifact import Artifact
from workloads.serving.compile import FastLayers, file_name, has_compiler, owned
from workloads.serving.log import say
from workloads.serving.model import Decoder

_WHY = {2: "the folder is refused", 3: "there is no C++ compiler", 4: "it was ended"}


def accelerate(
    decoder: Decoder, artifact: Artifact, place: Path, digest: str, threads: int, folder: Path
) -> None:
    """Give `decoder` its compiled layers from `folder`, which they are put into first where it lacks them.

    Compiling is another, patient process that ends with this one; it takes a core for half a minute. Whatever
    goes wrong, answers go on as they are, and the log says so.
    """
    place, folder = place.absolute(), folder.absolute()
    try:
        file = owned(folder) / file_name(artifact, threads, decoder.device)
        if not file.exists():
            if not has_compiler():
                say("no C++ compiler (g++, or $CXX): layers are not compiled; install one for faster answers")
                return
            with _alone(file):
                if not file.exists():
                    say("compiling layers behind the answers")
                    _compile(place, digest, threads, folder, decoder.device.type, file.with_suffix(".work"))
        decoder.fast = FastLayers(file, decoder)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        say(f"--compile-cache {folder}: {why}; answers go on without compiled layers")
    else:
        say(f"layers compiled: {file}")


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Waits for another server of this machine that makes `file`: two would take a core each for the same."""
    with open(file.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the system, however a process ends
        yield


def _compile(place: Path, digest: str, threads: int, folder: Path, device: str, work: Path) -> None:
    """`work` takes what compiling leaves lying about; that of a try which was ended is taken away first."""
    flags = [
        "--model-uri",
        str(place),
        "--digest",
        digest,
        "--threads",
        str(threads),
        "--output",
        str(folder),
        "--device",
        device,
        "--work",
        str(work),
    ]
    command = ["nice", sys.executable, "-m", "workloads.serving.compile", *flags, "--until-stdin-closes"]
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    done = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,  # kept open: the process ends when ours does, however that is
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that it can end its own compilers and workers with it
    )
    code = done.wait()
    shutil.rmtree(work, ignore_errors=True)
    if code:
        raise RuntimeError(f"compiling ended with {code} ({_WHY.get(code, 'run it by hand to see why')})")
