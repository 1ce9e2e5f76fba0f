"""From a published folder to a model that answers."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from workloads.remote import fetch
from workloads.serving.artifact import Artifact, open_artifact
from workloads.serving.chat import ChatTemplate
from workloads.serving.embeddings import Embedder
from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.log import say
from workloads.serving.memory import cache_positions
from workloads.serving.probe import watch
from workloads.serving.state import Loaded, State
from workloads.serving.terms import Options

if TYPE_CHECKING:
    from workloads.serving.model import Decoder


def load(
    state: State,
    place: Path | str,
    threads: int,
    cache_mib: int,
    waiting: int,
    compile_cache: Path | None,
    probe_seconds: float | None,
    clock: Callable[[], float],
) -> None:
    """Fetch (from an object store), verify and load a folder, answer once, and only then let `state` be ready.

    Raises ManifestError, RemoteError, CacheTooLarge, or what loading an unsuitable model raises.
    """
    folder = place if isinstance(place, Path) else fetch(place, state.digest)
    artifact = open_artifact(folder, state.digest)  # before torch: a refusal should be quick
    say(f"verified after {clock():.1f} s", "verified")
    import torch

    say(f"torch imported after {clock():.1f} s", "torch_imported")
    torch.set_num_threads(threads)
    encodes = isinstance(artifact.shape, EncoderArchitecture)
    decoder = None if encodes else _decoder(state, artifact, cache_mib)
    embedder = _embedder(artifact, waiting) if encodes else None
    state.metrics.model(state.name, state.version, state.digest, artifact.scheme, embedder or state.engine)
    state.loaded = _loaded(artifact, embedder)
    ready = f"{state.name} {state.digest} ready after {clock():.1f} s"
    say(ready, "ready", model=state.name, version=state.version, seconds=round(clock(), 2))
    watch(state, artifact, decoder, lambda: not state.open_answers, probe_seconds)
    if decoder is not None and compile_cache is not None:
        from workloads.serving.behind import accelerate

        accelerate(decoder, artifact, folder, state.digest, threads, compile_cache)


def _decoder(state: State, artifact: Artifact, cache_mib: int) -> "Decoder":
    """A model that has made a token, running in the engine."""
    from workloads.serving.generate import Generator
    from workloads.serving.model import Decoder
    from workloads.serving.scheduler import Scheduler
    from workloads.serving.storage import read_tensors

    decoder = Decoder(artifact.architecture, read_tensors(artifact.weights))
    tokenizer = Tokenizer.from_str(artifact.tokenizer)
    positions = cache_positions(cache_mib, decoder.position_bytes)
    list(Generator(decoder, tokenizer).generate([0], Options(max_tokens=1, temperature=0)))
    state.engine.start(Scheduler(decoder, tokenizer, positions))
    return decoder


def _loaded(artifact: Artifact, embedder: Embedder | None) -> Loaded:
    config = artifact.tokenizer_config
    template = config.get("chat_template")
    return Loaded(
        tokenizer=Tokenizer.from_str(artifact.tokenizer),
        template=ChatTemplate(template, config) if template else None,
        context_length=artifact.shape.context_length,
        vocab_size=artifact.shape.vocab_size,
        scheme=artifact.scheme,
        created=int(time.time()),
        embed=embedder,
        vector_size=artifact.encoder.hidden_size if embedder else 0,
    )


def _embedder(artifact: Artifact, waiting: int) -> Embedder:
    """An encoder that has given a vector; `waiting` requests may wait for the one at work."""
    from workloads.serving.encoder import Encoder
    from workloads.serving.storage import read_tensors

    encoder = Encoder(
        artifact.encoder, read_tensors(artifact.weights), Tokenizer.from_str(artifact.tokenizer)
    )
    encoder.embed(["warm"])
    return Embedder(encoder.embed, waiting + 1)
