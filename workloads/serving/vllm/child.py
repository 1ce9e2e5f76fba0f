"""vLLM as a process of ours: started on a Unix socket that nobody else reaches, watched, and ended with us."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp

from workloads.serving.engine import EngineEnded
from workloads.serving.vllm.engine import BASE, session

QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_COLOR": "0"}
"""Nothing is fetched and nothing reported from here: the model lies here, verified."""
POLL_SECONDS = 0.1
END_SECONDS = 20.0  # from SIGTERM, without requests, until it is killed


class Child:
    """One `vllm serve`, in a process group of its own: a terminal's Ctrl-C is the front's to handle.

    The sockets between its processes, and what else it leaves behind, lie in `scratch`.
    """

    def __init__(self, command: list[str], threads: int, scratch: Path) -> None:
        tied = [sys.executable, "-m", "workloads.serving.vllm.tied", str(os.getpid())]
        self._stopping = False
        self._process = subprocess.Popen(
            [*tied, *command],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            env={
                **os.environ,
                **QUIET,
                "TMPDIR": str(scratch),
                "OMP_NUM_THREADS": str(threads),
            },
            start_new_session=True,
        )

    def wait_warm(self, socket: Path, model: str) -> str:
        """Return when it has given one answer, with its metrics by then. Raises EngineEnded."""
        return asyncio.run(self._warm(socket, model))

    def watch(self) -> None:
        """Return when it has ended because of `stop`. Raises EngineEnded where it ended without."""
        code = self._process.wait()
        if not self._stopping:
            raise EngineEnded(f"vLLM ended with {code}; its own lines above say why")

    def stop(self) -> None:
        """Ask it to end, and see to it that it does, with all processes of its own."""
        self._stopping = True
        if self._process.poll() is None:
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        with contextlib.suppress(ProcessLookupError):  # what it started and did not end
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    async def _warm(self, socket: Path, model: str) -> str:
        async with session(socket) as client:
            while True:
                if self._process.poll() is not None:
                    self.watch()
                    return ""
                try:
                    async with client.get(f"{BASE}/health") as health:
                        healthy = health.status == 200
                except (aiohttp.ClientError, OSError):
                    healthy = False
                if healthy:
                    break
                await asyncio.sleep(POLL_SECONDS)
            try:
                return await _first_answer(client, model)
            except (aiohttp.ClientError, OSError) as error:
                if self._stopping:
                    return ""
                raise EngineEnded(f"vLLM broke off its first answer ({type(error).__name__})") from error


async def _first_answer(client: aiohttp.ClientSession, model: str) -> str:
    """Let it answer once; its metrics by then. Raises EngineEnded where it refuses to."""
    ask = {"model": model, "prompt": [0], "max_tokens": 1, "temperature": 0}
    async with client.post(f"{BASE}/v1/completions", json=ask) as answer:
        if answer.status != 200:
            why = f"vLLM answered {answer.status} to the first question: {await answer.text()}"
            raise EngineEnded(why)
    async with client.get(f"{BASE}/metrics") as metrics:
        return await metrics.text()
