"""One prompt at a time, for those who need no server: publishing, warming up, tests."""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer

from workloads.serving.cache import BLOCK_TOKENS, blocks_for
from workloads.serving.model import Decoder
from workloads.serving.scheduler import Scheduler
from workloads.serving.terms import Options, Piece, check_length


class Generator:
    """Answers prompts with one model and its tokenizer."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer

    def generate(self, prompt: Sequence[int], options: Options) -> Iterator[Piece]:
        """Yield a Piece per new token; the one with the finish reason is the last.

        Raises PromptTooLong or ValueError (empty prompt) before anything is computed.
        """
        check_length(len(prompt), options.max_tokens, self._decoder.architecture.context_length)
        room = blocks_for(len(prompt) + options.max_tokens) * BLOCK_TOKENS
        scheduler = Scheduler(self._decoder, self._tokenizer, room)
        scheduler.admit(list(prompt), options)
        return self._run(scheduler)

    def _run(self, scheduler: Scheduler) -> Iterator[Piece]:
        while True:
            for _, piece in scheduler.step():
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if piece.finish_reason:
                    return
