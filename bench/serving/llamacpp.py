"""llama.cpp by its own C interface, in an environment of its own: python -m bench.serving.llamacpp FILE < inputs.

One batch of several sequences; the high-level class of llama-cpp-python takes one at a time. Greedy, and an end token
ends nothing, as for all contenders.
"""

import ctypes
import sys
import time

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from bench.serving import contender

POSITIONS = 32 * 128  # of all sequences together


class LlamaCpp:
    def __init__(self, file: str) -> None:
        llama_cpp.llama_backend_init()
        _silence()
        self._model = llama_cpp.llama_model_load_from_file(
            file.encode(), llama_cpp.llama_model_default_params()
        )
        self._words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = POSITIONS
        settings.n_seq_max = 32
        settings.kv_unified = True
        settings.n_threads = settings.n_threads_batch = contender.THREADS
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self._batch = llama_cpp.llama_batch_init(POSITIONS, 0, 1)

    def answer(self, prompts: list[list[int]], tokens: int) -> list[float]:
        self._forget()
        size = len(prompts[0])
        places = [(number, at) for number in range(len(prompts)) for at in range(size)]
        self._pass([prompts[number][at] for number, at in places], places, last=size - 1)
        newest, steps = self._likeliest(range(size - 1, len(places), size)), [time.perf_counter()]
        while len(steps) < tokens:
            at = size + len(steps) - 1
            self._pass(newest, [(number, at) for number in range(len(prompts))], last=at)
            newest = self._likeliest(range(len(prompts)))
            steps.append(time.perf_counter())
        return steps

    def bits(self, window: list[int]) -> float:
        self._forget()
        self._pass(window, [(0, at) for at in range(len(window))], last=0)
        scores = np.stack([self._scores(at) for at in range(len(window) - 1)]).astype(np.float64)
        top = scores.max(-1)
        given = scores[np.arange(len(window) - 1), window[1:]]
        return float((np.log(np.exp(scores - top[:, None]).sum(-1)) + top - given).sum() / np.log(2))

    def _pass(self, tokens: list[int], places: list[tuple[int, int]], last: int) -> None:
        """One pass over `tokens` at `places` (sequence, position); scores are wanted from position `last` on."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, (token, (number, at)) in enumerate(zip(tokens, places, strict=True)):
            batch.token[index], batch.pos[index], batch.logits[index] = token, at, at >= last
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, number
        if code := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode gave {code}")

    def _likeliest(self, rows: range) -> list[int]:
        return [int(self._scores(row).argmax()) for row in rows]

    def _scores(self, row: int) -> NDArray[np.float32]:
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._context, row), (self._words,))

    def _forget(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)


@llama_cpp.llama_log_callback
def _nothing(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    pass


def _silence() -> None:
    llama_cpp.llama_log_set(_nothing, ctypes.c_void_p(0))


if __name__ == "__main__":
    contender.main(LlamaCpp(*sys.argv[1:]))
