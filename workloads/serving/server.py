"""Answer requests with one published model:

    python -m workloads.serving.server --model-uri file:///artifacts/coder-int8 --model-name coder \\
        --digest sha256:... --port 8000 --threads 1

The port is bound first and `/v2/health/live` answers at once; `/v2/health/ready` is 200 only after every file
was verified against --digest and a first token was generated. SIGTERM: not ready, answers in flight finish,
exit. A second SIGTERM does not wait.

Exit codes: 0 stopped as asked, 2 a wrong flag, 3 the model folder is refused (altered, incomplete, another
digest, or not loadable), 4 the address cannot be bound.
"""

import argparse
import asyncio
import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import FrameType
from urllib.parse import unquote, urlsplit

import uvicorn
from tokenizers import Tokenizer

from workloads.manifest import ManifestError
from workloads.remote import RemoteError, fetch, is_remote, open_address
from workloads.serving.app import create_app
from workloads.serving.artifact import open_artifact
from workloads.serving.chat import ChatTemplate
from workloads.serving.engine import Engine
from workloads.serving.log import say
from workloads.serving.memory import CacheTooLarge, cache_positions
from workloads.serving.state import Loaded, State
from workloads.serving.terms import Options

STOPPED, BAD_FLAG, BAD_MODEL, BAD_ADDRESS = 0, 2, 3, 4
DRAIN_POLL_SECONDS = 0.02
CLOSE_SECONDS = 5  # for a client that does not read its answer


class Server(uvicorn.Server):
    """uvicorn with our end: on SIGTERM keep answering health as not ready until the last answer is out."""

    def __init__(self, config: uvicorn.Config, state: State, drain_seconds: float) -> None:
        super().__init__(config)
        self._state = state
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

    def refuse(self, code: int) -> None:
        """End now with exit code `code`; may be called from the loading thread."""
        self.exit_code = code
        self.should_exit = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._state.draining:
            self._state.engine.cancel_all()
            self.should_exit = True
            return
        self._state.draining = True
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _drain(self) -> None:
        deadline = time.monotonic() + self._drain_seconds
        while self._state.open_answers and time.monotonic() < deadline:
            time.sleep(DRAIN_POLL_SECONDS)
        self._state.engine.cancel_all()
        self.should_exit = True


def load(
    state: State,
    place: Path | str,
    threads: int,
    cache_mib: int,
    compile_cache: Path | None,
    clock: Callable[[], float],
) -> None:
    """Fetch (from an object store), verify and load a folder, generate one token, and only then let `state` be ready.

    Raises ManifestError, RemoteError, CacheTooLarge, or what loading an unsuitable model raises.
    """
    folder = place if isinstance(place, Path) else fetch(place, state.digest)
    artifact = open_artifact(folder, state.digest)  # before torch: a refusal should be quick
    say(f"verified after {clock():.1f} s")
    import torch

    say(f"torch imported after {clock():.1f} s")
    from workloads.serving.behind import accelerate
    from workloads.serving.generate import Generator
    from workloads.serving.model import Decoder
    from workloads.serving.scheduler import Scheduler
    from workloads.serving.storage import read_tensors

    torch.set_num_threads(threads)
    decoder = Decoder(artifact.architecture, read_tensors(artifact.weights))
    tokenizer = Tokenizer.from_str(artifact.tokenizer)
    positions = cache_positions(cache_mib, decoder.position_bytes)
    list(Generator(decoder, tokenizer).generate([0], Options(max_tokens=1, temperature=0)))
    config = artifact.tokenizer_config
    template = config.get("chat_template")
    state.metrics.model(state.name, state.digest, artifact.scheme)
    state.engine.start(Scheduler(decoder, tokenizer, positions))
    state.loaded = Loaded(
        tokenizer=tokenizer,
        template=ChatTemplate(template, config) if template else None,
        context_length=artifact.architecture.context_length,
        vocab_size=artifact.architecture.vocab_size,
        scheme=artifact.scheme,
        created=int(time.time()),
    )
    say(f"{state.name} {state.digest} ready after {clock():.1f} s")
    if compile_cache is not None:
        accelerate(decoder, artifact, folder, state.digest, threads, compile_cache)


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(128)  # here, not in uvicorn: two servers that only bound would both succeed
    except BaseException:
        bound.close()
        raise
    return bound


def flags(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; ends the process with code 2 when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.serving.server", description="Serve one model."
    )
    parser.add_argument(
        "--model-uri", required=True, type=_folder, help="a path, file://, s3:// or gs:// folder"
    )
    parser.add_argument("--model-name", required=True, help="the name clients ask for")
    parser.add_argument("--digest", required=True, type=_digest, help="sha256:<hex> that publish printed")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; the default is this machine only"
    )
    parser.add_argument("--port", type=int, default=8000, help="port; 0 takes a free one and says which")
    parser.add_argument(
        "--threads", type=_count, default=1, help="threads per pass; not more than free cores"
    )
    parser.add_argument(
        "--queue", type=_count, default=8, help="requests that may wait beside the running ones"
    )
    parser.add_argument("--slots", type=_count, default=8, help="requests answered at the same time")
    parser.add_argument(
        "--cache-mib", type=_count, default=256, help="memory for keys and values of all answers together"
    )
    parser.add_argument(
        "--compile-cache",
        type=Path,
        help="folder of compiled layers; what it lacks is compiled behind the first answers. Default: none",
    )
    parser.add_argument(
        "--drain-seconds", type=float, default=25.0, help="longest wait for answers at SIGTERM"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    args = flags(argv)
    try:
        listener = bind(args.host, args.port)
    except (OSError, OverflowError) as error:
        say(f"--port {args.port} on --host {args.host}: cannot listen ({error}); free it or choose another")
        return BAD_ADDRESS
    state = State(args.model_name, args.digest, Engine(args.queue, args.slots))
    config = uvicorn.Config(
        create_app(state),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    server = Server(config, state, args.drain_seconds)

    started = time.monotonic()

    def clock() -> float:
        return time.monotonic() - started

    def loading() -> None:
        try:
            load(state, args.model_uri, args.threads, args.cache_mib, args.compile_cache, clock)
        except (ManifestError, RemoteError) as error:
            say(str(error))
            server.refuse(BAD_MODEL)
        except CacheTooLarge as error:
            say(str(error))
            server.refuse(BAD_FLAG)
        except Exception as error:
            say(f"{args.model_uri}: cannot be loaded ({type(error).__name__}: {error}); publish it again")
            server.refuse(BAD_MODEL)

    host, port = listener.getsockname()[:2]
    say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    threading.Thread(target=loading, name="load", daemon=True).start()
    asyncio.run(server.serve(sockets=[listener]))
    return server.exit_code


def _folder(value: str) -> Path | str:
    if is_remote(value):
        try:
            open_address(value)
        except (ValueError, ImportError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise argparse.ArgumentTypeError(
            f"{value!r}: a published model is a path, file://, s3:// or gs:// folder"
        )
    return Path(unquote(parts.path)) if parts.scheme else Path(value)


def _digest(value: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise argparse.ArgumentTypeError(f"{value!r}: write sha256: and 64 hex digits, as publish printed it")
    return value


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r}: write a whole number of at least 1")
    return int(value)


if __name__ == "__main__":
    # At once: the interpreter's own end would pull torch from under a thread still loading or generating.
    os._exit(main())
