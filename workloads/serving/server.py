"""Answer requests with published models:

    python -m workloads.serving.server --model-uri file:///artifacts/coder-int8 --model-name coder \\
        --digest sha256:... --port 8000 --threads 1

Several models in one process: repeat `--model NAME=URI@sha256:...` in place of those three flags.

The port is bound first and `/v2/health/live` answers at once; `/v2/health/ready` is 200 only after every file
was verified against its digest and each model has made a first token. SIGTERM: not ready, answers in flight finish,
exit. A second SIGTERM does not wait.

With --engine vllm the same server stands in front of vLLM, which it starts, watches and ends (docs/decisions/0020).

Exit codes: 0 stopped as asked, 2 a wrong flag, 3 a model folder is refused (altered, incomplete, another
digest, or not loadable), 4 the address cannot be bound, 5 vLLM ended by itself.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Generator, Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

from workloads.serving.app import create_app
from workloads.serving.auth import BadCredentials, Door, Identify, api_keys, signed_tokens
from workloads.serving.connections import patient
from workloads.serving.device import NoDevice
from workloads.serving.engine import Engine, EngineEnded
from workloads.serving.flags import flags
from workloads.serving.limits import Limits
from workloads.serving.loading import BadModel, How, load
from workloads.serving.log import configure, failure, say
from workloads.serving.memory import BadCacheSize
from workloads.serving.metrics import Metrics
from workloads.serving.metrics_port import MetricsPort
from workloads.serving.models import Models
from workloads.serving.reread import reread
from workloads.serving.state import State
from workloads.serving.traces import Traces

if TYPE_CHECKING:
    from workloads.serving.vllm.start import Launch

STOPPED, BAD_FLAG, REFUSED_MODEL, BAD_ADDRESS, ENGINE_ENDED = 0, 2, 3, 4, 5
DRAIN_POLL_SECONDS = 0.02
QUIET_SECONDS = 1.0  # who asked lately may ask again, and should hear that it ends before it has
CLOSE_SECONDS = 5  # for a client that does not read its answer


class Server(uvicorn.Server):
    """uvicorn with our end: on SIGTERM keep answering health as not ready until the last answer is out."""

    def __init__(self, config: uvicorn.Config, models: Models, drain_seconds: float) -> None:
        super().__init__(config)
        self._models = models
        self._drain_seconds = drain_seconds
        self.exit_code = STOPPED

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn's own would close the listener at once and end the process by re-raising the signal
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def on_tick(self, counter: int) -> bool:
        if self._models.draining:
            self._models.end_receiving()
        return await super().on_tick(counter)

    def refuse(self, code: int) -> None:
        """End now with exit code `code`; may be called from the loading thread."""
        self.exit_code = code
        self.should_exit = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._models.draining:
            self._models.cancel_all()
            self.should_exit = True
            return
        self._models.drain()
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _drain(self) -> None:
        say("asked to stop: new requests are refused, answers in flight finish", "draining")
        deadline = time.monotonic() + self._drain_seconds
        while (now := time.monotonic()) < deadline:
            if not self._models.open_answers and now - self._models.asked_at >= QUIET_SECONDS:
                break
            time.sleep(DRAIN_POLL_SECONDS)
        self._models.cancel_all()
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named, since asyncio turns Nagle's algorithm off for this protocol only: an answer's body would wait for a client
    # to acknowledge its head, 40 ms on Linux
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(128)  # here, not in uvicorn: two servers that only bound would both succeed
    except BaseException:
        bound.close()
        raise
    return bound


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def allow_many_connections() -> None:
    """Raise the soft limit of open files to the hard one: each connection is a file, 1024 is a usual limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _identify(args: argparse.Namespace) -> Identify | None:
    """How callers are known. Raises BadCredentials."""
    if args.api_keys_file is not None:
        return reread(args.api_keys_file, api_keys)
    if args.jwt_jwks_file is not None:
        tokens = partial(signed_tokens, issuer=args.jwt_issuer, audience=args.jwt_audience)
        return reread(args.jwt_jwks_file, tokens)
    return None


def _launch(args: argparse.Namespace) -> "Launch | None":
    """What starts vLLM, where it is the engine."""
    if args.engine != "vllm":
        return None
    from workloads.serving.vllm.start import Launch  # brings an HTTP client that engine torch does not need

    return Launch(args.vllm, args.slots, args.queue, args.threads, args.cache_mib, args.vllm_arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    args = flags(argv)
    configure()
    try:
        door = Door(_identify(args), args.requests_per_minute)
    except BadCredentials as error:
        say(str(error), "refused", logging.ERROR)
        return BAD_FLAG
    allow_many_connections()
    listeners: list[socket.socket] = []
    for flag, wanted in (("--port", args.port), ("--metrics-port", args.metrics_port)):
        try:
            listeners += [bind(args.host, wanted)] if wanted is not None else []
        except (OSError, OverflowError) as error:
            why = f"{flag} {wanted} on --host {args.host}: cannot listen ({error}); free it or choose another"
            say(why, "refused", logging.ERROR)
            return BAD_ADDRESS
    limits = Limits(args.answer_seconds, args.answer_tokens, args.client_seconds)
    metrics = Metrics()
    launch = _launch(args)
    vllm = launch.vllm if launch else None
    states = [
        State(one.name, one.digest, Engine(args.queue, args.slots), limits, metrics, vllm)
        for one in args.models
    ]
    models = Models(states, door, limits, metrics)
    traces = Traces(metrics.spans)
    app: ASGIApp = create_app(models, traces)
    for listener in listeners[1:]:
        app = MetricsPort(app, listener.getsockname()[1])
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        http=patient(args.client_seconds),
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    server = Server(config, models, args.drain_seconds)

    how = How(args.threads, args.cache_mib, args.queue, args.compile_cache, args.device, args.probe_seconds)
    sources = [(state, one.place) for state, one in zip(states, args.models, strict=True)]
    started = time.monotonic()

    def clock() -> float:
        return time.monotonic() - started

    def loading() -> None:
        try:
            if launch:
                launch.run(*sources[0], clock)
            else:
                load(sources, how, lambda: not models.open_answers, clock)
        except BadModel as error:
            say(str(error), "refused", logging.ERROR)
            server.refuse(REFUSED_MODEL)
        except (BadCacheSize, NoDevice) as error:
            say(str(error), "refused", logging.ERROR)
            server.refuse(BAD_FLAG)
        except EngineEnded as error:
            say(str(error), "refused", logging.ERROR)
            server.refuse(ENGINE_ENDED)
        except Exception as error:  # whatever it is: a server that nothing will ever make ready must end
            failure("loading", error)
            say("the model cannot be loaded; publish it again", "refused", logging.ERROR)
            server.refuse(REFUSED_MODEL)

    address, *metrics_addresses = map(_address, listeners)
    with server.capture_signals():  # uvicorn's serve does so too, but a stop may come before it
        say(f"listening on {address}", "listening", address=address)
        for other in metrics_addresses:
            say(f"metrics alone on {other}/metrics", "listening", address=other)
        threading.Thread(target=loading, name="load", daemon=True).start()
        try:
            asyncio.run(server.serve(sockets=listeners))
        finally:
            if launch:
                launch.stop()
    traces.close()
    if server.exit_code == STOPPED:  # otherwise it was told why
        say(f"stopped after {clock():.1f} s", "stopped")
    return server.exit_code


if __name__ == "__main__":
    # At once: the interpreter's own end would pull torch from under a thread still loading or generating.
    os._exit(main())
