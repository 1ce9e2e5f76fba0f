"""From published folders to models that answer."""

import mmap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from workloads.manifest import ManifestError
from workloads.remote import RemoteError, fetch
from workloads.serving.artifact import Artifact, open_artifact
from workloads.serving.chat import ChatTemplate
from workloads.serving.device import find_device, free_bytes
from workloads.serving.embeddings import Embedder
from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.log import say
from workloads.serving.memory import BadCacheSize, available_bytes, positions_of
from workloads.serving.probe import watch
from workloads.serving.state import Loaded, State
from workloads.serving.terms import Options

if TYPE_CHECKING:
    import torch

    from workloads.serving.model import Decoder


class BadModel(Exception):
    """A model that cannot be served; the message names it where there are several, and says what to do."""


@dataclass(frozen=True, slots=True)
class How:
    """How models are loaded, all of a server alike."""

    threads: int
    """Per pass."""
    cache_mib: int
    """Of each model."""
    waiting: int
    """Requests that may wait for an encoder."""
    compile_cache: Path | None = None
    device: str | None = None
    """Its name; None is a GPU where there is one."""
    probe_seconds: float | None = None
    """Between two measurements of quality; None measures none."""


def load(
    sources: Sequence[tuple[State, Path | str]],
    how: How,
    idle: Callable[[], bool],
    clock: Callable[[], float],
) -> None:
    """Fetch (from an object store), verify and load each folder, let it answer once, and only then be ready.

    All are verified before any is loaded. Raises BadModel, BadCacheSize or NoDevice.
    """
    several = len(sources) > 1
    opened: list[tuple[State, Path, Artifact]] = []
    for state, place in sources:
        with named(state, place, several):
            folder = place if isinstance(place, Path) else fetch(place, state.digest)
            opened.append((state, folder, open_artifact(folder, state.digest)))
    say(f"verified after {clock():.1f} s", "verified")  # before torch: a refusal should be quick
    import torch

    say(f"torch imported after {clock():.1f} s", "torch_imported")
    torch.set_num_threads(how.threads)
    device = find_device(how.device)
    decoders = sum(not isinstance(artifact.shape, EncoderArchitecture) for _, _, artifact in opened)
    made: list[tuple[State, Path, Artifact, Decoder]] = []
    for state, folder, artifact in opened:
        with named(state, folder, several):
            encodes = isinstance(artifact.shape, EncoderArchitecture)
            embedder, decoder = _embedder(artifact, device, how.waiting) if encodes else None, None
            if not encodes:
                # a CPU's caches are promised and take their memory later: all count at each; a GPU's are there
                models = decoders if device.type == "cpu" else 1
                decoder = _decoder(state, artifact, device, how.cache_mib, models)
                made.append((state, folder, artifact, decoder))
            loaded = described(artifact, embedder)
        state.metrics.model(
            state.name, state.version, state.digest, artifact.scheme, embedder or state.engine
        )
        state.loaded = loaded
        ready = f"{state.name} {state.digest} on {device} ready after {clock():.1f} s"
        say(ready, "ready", model=state.name, version=state.version, seconds=round(clock(), 2))
        watch(state, artifact, decoder, idle, how.probe_seconds)
    for state, folder, artifact, decoder in made:
        if how.compile_cache is not None:
            from workloads.serving.behind import accelerate

            accelerate(decoder, artifact, folder, state.digest, how.threads, how.compile_cache)


@contextmanager
def named(state: State, place: Path | str, several: bool) -> Iterator[None]:
    """Turns what a model is refused for into BadModel."""
    about = f"model {state.name!r}: " if several else ""
    try:
        yield
    except BadCacheSize:
        raise
    except (ManifestError, RemoteError) as error:
        raise BadModel(f"{about}{error}") from error
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise BadModel(f"{about}{place}: cannot be loaded ({why}); publish it again") from error


def _decoder(
    state: State, artifact: Artifact, device: "torch.device", cache_mib: int, models: int
) -> "Decoder":
    """A model that has made a token, running in the engine; one of `models` that take as much cache."""
    from workloads.serving.generate import Generator
    from workloads.serving.model import Decoder
    from workloads.serving.scheduler import Scheduler
    from workloads.serving.storage import read_tensors

    decoder = Decoder(artifact.architecture, read_tensors(artifact.weights, device))
    tokenizer = Tokenizer.from_str(artifact.tokenizer)
    # Hashing reached every page; those that are computed with come back, not those that were copied or repacked.
    artifact.weights.madvise(mmap.MADV_DONTNEED)
    free = available_bytes() if device.type == "cpu" else free_bytes(device)
    positions = positions_of(cache_mib, models, free, decoder.position_bytes)
    list(Generator(decoder, tokenizer).generate([0], Options(max_tokens=1, temperature=0)))
    state.engine.start(Scheduler(decoder, tokenizer, positions))
    return decoder


def described(artifact: Artifact, embedder: Embedder | None = None) -> Loaded:
    """What the routes must know of a model, whoever computes it."""
    config = artifact.tokenizer_config
    template = config.get("chat_template")
    tokenizer = Tokenizer.from_str(artifact.tokenizer)
    return Loaded(
        tokenizer=tokenizer,
        template=ChatTemplate(template, config) if template else None,
        context_length=artifact.shape.context_length,
        vocab_size=artifact.shape.vocab_size,
        scheme=artifact.scheme,
        created=int(time.time()),
        # as they stand in the vocabulary: there some are written longer than what they mean, none shorter
        token_bytes=max(len(token.encode()) for token in tokenizer.get_vocab()),
        embed=embedder,
        vector_size=artifact.encoder.hidden_size if embedder else 0,
    )


def _embedder(artifact: Artifact, device: "torch.device", waiting: int) -> Embedder:
    """An encoder that has given a vector; `waiting` requests may wait for the one at work."""
    from workloads.serving.encoder import Encoder
    from workloads.serving.storage import read_tensors

    encoder = Encoder(
        artifact.encoder, read_tensors(artifact.weights, device), Tokenizer.from_str(artifact.tokenizer)
    )
    encoder.embed(["warm"])
    return Embedder(encoder.embed, waiting + 1)
