"""What the server knows about one of its models, shared by the loader and the routes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from workloads.serving.chat import ChatTemplate
from workloads.serving.engine import Engine, Job
from workloads.serving.limits import Limits
from workloads.serving.metrics import Metrics
from workloads.serving.openai import Ask
from workloads.serving.protocol import ApiError

if TYPE_CHECKING:
    from workloads.serving.vllm.engine import Passage, Vllm


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
    embed: Callable[[Sequence[str]], Awaitable[tuple[list[list[float]], int]]] | None = None
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

    @property
    def ready(self) -> bool:
        return self.loaded is not None and not self.draining

    @property
    def version(self) -> str:
        return self.digest.removeprefix("sha256:")[:12]

    @property
    def fingerprint(self) -> str:
        return f"skerry-{self.version}"

    def cancel(self, job: "Job | Passage") -> None:
        """End an answer early; harmless when it has ended."""
        if isinstance(job, Job):
            self.engine.cancel(job)
        else:
            job.cancel()

    def cancel_all(self) -> None:
        """End all answers early, for a shutdown that ran out of time."""
        (self.vllm or self.engine).cancel_all()

    def require(self) -> Loaded:
        """What was loaded. Raises ApiError(503) while not ready."""
        if self.loaded is None or self.draining:
            why = "shutting down" if self.draining else "still loading its model"
            raise ApiError(503, f"this server is {why}; try another replica", code="not_ready")
        return self.loaded

    def prompt_tokens(self, ask: Ask, loaded: Loaded) -> list[int]:
        """The tokens of what was asked. Raises ApiError(400) where this model cannot take it."""
        if loaded.embed is not None:
            message = f"model {self.name!r} is an encoder, it continues no text; use /v1/embeddings"
            raise ApiError(400, message, "model", "not_a_decoder")
        size = loaded.vocab_size
        if not all(token < size for token, _ in ask.options.logit_bias):
            message = f"logit_bias holds token numbers outside 0 to {size - 1}"
            raise ApiError(400, message, "logit_bias", "invalid_value")
        if ask.messages is not None:
            if loaded.template is None:
                raise ApiError(
                    400,
                    f"model {self.name!r} has no chat template, it continues text; use /v1/completions",
                    "messages",
                    "no_chat_template",
                )
            # the template has written every special token that belongs there
            return loaded.tokenizer.encode(loaded.template.render(ask.messages), add_special_tokens=False).ids
        if isinstance(ask.prompt, list):
            if not all(0 <= token < size for token in ask.prompt):
                raise ApiError(
                    400, f"prompt holds token numbers outside 0 to {size - 1}", "prompt", "invalid_value"
                )
            return ask.prompt
        return loaded.tokenizer.encode(ask.prompt or "").ids
