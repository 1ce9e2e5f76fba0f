"""From a published folder to a vLLM that answers."""

import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from workloads.remote import fetch
from workloads.serving.artifact import hold, open_artifact
from workloads.serving.loading import described, named
from workloads.serving.log import say
from workloads.serving.state import State
from workloads.serving.vllm.child import Child
from workloads.serving.vllm.engine import Vllm
from workloads.serving.vllm.layout import lay_out

MIB = 2**20


def command(vllm: Path, model: Path, socket: Path, name: str, dtype: str, slots: int) -> list[str]:
    """`vllm serve` as the contract wants it."""
    return [
        *(str(vllm), "serve", str(model)),
        *("--uds", str(socket)),
        *("--served-model-name", name),
        *("--max-num-seqs", str(slots)),
        *("--dtype", dtype),
        *("--load-format", "safetensors"),
        *("--generation-config", "vllm"),  # sampling as the request says, nothing from the model's folder
        "--no-enable-log-requests",
        "--disable-uvicorn-access-log",
    ]


class Launch:
    """One vLLM from its start to its end."""

    def __init__(
        self, vllm: Path, slots: int, waiting: int, threads: int, cache_mib: int | None, more: Iterable[str]
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="skerry-vllm-")  # mode 0700: nobody else gets in
        self._command, self._slots, self._threads = vllm, slots, threads
        self._more = [*(("--kv-cache-memory-bytes", str(cache_mib * MIB)) if cache_mib else ()), *more]
        self.vllm = Vllm(Path(self._scratch.name, "socket"), slots + waiting)
        self._changes = threading.Lock()
        self._child: Child | None = None
        self._stopped = False

    def run(self, state: State, place: Path | str, clock: Callable[[], float]) -> None:
        """Fetch, verify, start vLLM, let it answer once, and only then let `state` be ready; then wait for its end.

        Raises BadModel, or EngineEnded where vLLM ended before `stop` was called.
        """
        model = Path(self._scratch.name, "model")
        with named(state, place, several=False):
            folder = place if isinstance(place, Path) else fetch(place, state.digest)
            artifact = open_artifact(folder, state.digest)
            weights = hold(folder, "model.safetensors", artifact.facts)
        with weights:
            with named(state, place, several=False):
                dtype = lay_out(artifact, weights, model)
                loaded = described(artifact)
            artifact.weights.close()  # the pages are vLLM's to hold
            say(f"verified after {clock():.1f} s", "verified")
            line = command(self._command, model, self.vllm.socket, state.name, dtype, self._slots)
            with self._changes:
                if self._stopped:
                    return
                self._child = Child([*line, *self._more], self._threads, Path(self._scratch.name))
            self.vllm.figures.hear(self._child.wait_warm(self.vllm.socket, state.name))
        state.metrics.model(state.name, state.version, state.digest, artifact.scheme, self.vllm.figures)
        state.loaded = loaded
        ready = f"{state.name} {state.digest} ready after {clock():.1f} s"
        say(ready, "ready", model=state.name, version=state.version, seconds=round(clock(), 2))
        try:
            self._child.watch()
        finally:
            state.loaded = None

    def stop(self) -> None:
        """End vLLM, whatever it does, and leave nothing behind."""
        with self._changes:
            self._stopped = True
        if self._child is not None:
            self._child.stop()
        self._scratch.cleanup()
