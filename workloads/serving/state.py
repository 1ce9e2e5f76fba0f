"""What the server knows about one of its models, shared by the loader and the routes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from workloads.serving.chat import ChatTemplate
from workloads.serving.engine import Engine, Job
from workloads.serving.limits import Limits
from workloads.serving.metrics import Metrics
from workloads.serving.protocol import not_ready

if TYPE_CHECKING:
    from workloads.serving.embeddings import Embedder, Embedding
    from workloads.serving.vllm.engine import Passage, Vllm

CUT_AT_ONCE = 2  # prompts of a model: a short one passes a long one, and cores are left to the model


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that was verified and has produced a token."""

    tokenizer: Tokenizer
    template: ChatTemplate | None
    context_length: int
    vocab_size: int
    scheme: str
    created: int
    """Unix seconds of the load."""
    token_bytes: int
    """Of the longest token: no text of more than that times `context_length` fits."""
    embed: "Embedder | None" = None
    """Of an encoder, which gives vectors and continues nothing."""
    vector_size: int = 0
    """Numbers of a vector; 0 where there are none."""


@dataclass
class State:
    """One model. Ready means loaded and not draining."""

    name: str
    digest: str
    engine: Engine
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=Metrics)
    vllm: "Vllm | None" = None
    """Engine vllm, which then answers in place of `engine`."""
    loaded: Loaded | None = None
    draining: bool = False
    cutters: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(CUT_AT_ONCE, "tokenize"))
    """Threads that cut prompts into tokens."""

    @property
    def ready(self) -> bool:
        return self.loaded is not None and not self.draining

    @property
    def version(self) -> str:
        return self.digest.removeprefix("sha256:")[:12]

    @property
    def fingerprint(self) -> str:
        return f"skerry-{self.version}"

    def cancel(self, job: "Job | Passage | Embedding") -> None:
        """End an answer early; harmless when it has ended."""
        if isinstance(job, Job):
            self.engine.cancel(job)
        else:
            job.cancel()

    def cancel_all(self) -> None:
        """End all answers early, for a shutdown that ran out of time."""
        embedder = self.loaded.embed if self.loaded else None
        (self.vllm or embedder or self.engine).cancel_all()

    def require(self) -> Loaded:
        """What was loaded. Raises ApiError(503) while not ready."""
        if self.loaded is None or self.draining:
            raise not_ready("shutting down" if self.draining else "still loading its model")
        return self.loaded
