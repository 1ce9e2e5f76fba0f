"""Sentence embeddings with a model in BERT's layout, in plain torch.

Shapes: N texts, T tokens of the longest, C hidden size, H heads. Norms and the residual stream are fp32; matrices
take what their scheme needs.
"""

from collections.abc import Callable, Sequence

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.linear import matrix
from workloads.serving.terms import GivenUp, PromptTooLong, longest

BATCH = 32  # texts of a pass: enough to fill the matrices, little memory
TOKEN_BYTES = 400  # the longest word that WordPiece makes one token of: 100 characters of four bytes


class Encoder:
    """The model over tensors named as in the artifact.

    Raises KeyError for a tensor that is missing and UnsupportedScheme where this machine does not compute one.
    """

    def __init__(
        self, architecture: EncoderArchitecture, tensors: dict[str, torch.Tensor], tokenizer: Tokenizer
    ) -> None:
        self.architecture = architecture
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()  # a saved tokenizer may pad and cut to a length of its own
        self._tokenizer.no_truncation()
        self._matrices = {
            name.removesuffix(".weight"): matrix(tensors, name)
            for name, shape in architecture.tensor_shapes().items()
            if len(shape) == 2
        }
        self._vectors = {
            name: tensors[name] for name, shape in architecture.tensor_shapes().items() if len(shape) == 1
        }
        words = self._matrices["embeddings.word_embeddings"]
        self.dtype, self._device = words.dtype, words.device

    def embed(
        self, texts: Sequence[str], given_up: Callable[[], bool] = lambda: False
    ) -> tuple[list[list[float]], int]:
        """One vector of length 1 per text, (N, C), and how many tokens were read.

        Raises PromptTooLong for a text beyond the context: a cut text has another meaning. Raises GivenUp between
        two batches where `given_up` says so.
        """
        rows = self._tokens(texts, given_up)
        # equals together: little padding
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        vectors: list[list[float]] = [[]] * len(rows)
        for start in range(0, len(order), BATCH):
            if given_up():
                raise GivenUp
            batch = order[start : start + BATCH]
            made = self._embed([rows[index] for index in batch]).tolist()
            for index, vector in zip(batch, made, strict=True):
                vectors[index] = vector
        return vectors, sum(map(len, rows))

    def _tokens(self, texts: Sequence[str], given_up: Callable[[], bool]) -> list[list[int]]:
        """The tokens of each text. What cannot fit is refused before it is cut into them, which takes a second and a
        hundred megabytes for one."""
        limit = self.architecture.context_length
        for index, text in enumerate(texts):
            if (size := len(text.encode())) > limit * TOKEN_BYTES:
                raise PromptTooLong(
                    f"{longest(limit)}, and a text of more than {limit * TOKEN_BYTES} bytes is not cut into them; text "
                    f"{index} has {size} bytes; shorten or split it"
                )
        rows: list[list[int]] = []
        for start in range(0, len(texts), BATCH):
            if given_up():
                raise GivenUp
            for encoding in self._tokenizer.encode_batch_fast(list(texts[start : start + BATCH])):
                if len(encoding.ids) > limit:
                    raise PromptTooLong(
                        f"{longest(limit)}; text {len(rows)} has {len(encoding.ids)} tokens; shorten or split it"
                    )
                rows.append(encoding.ids)
        return rows

    @torch.inference_mode()
    def _embed(self, rows: list[list[int]]) -> torch.Tensor:
        device = self._device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        most = max(map(len, rows))
        tokens = torch.tensor([row + [0] * (most - len(row)) for row in rows], device=device)  # (N, T)
        there = torch.arange(most, device=device) < lengths[:, None]  # (N, T): not padding
        at = self._matrices
        x = at["embeddings.word_embeddings"].rows(tokens)
        x = x + at["embeddings.position_embeddings"].rows(torch.arange(most, device=device))
        x = x + at["embeddings.token_type_embeddings"].rows(torch.zeros(1, dtype=torch.long, device=device))
        x = self._norm("embeddings.LayerNorm", x)
        for layer in range(self.architecture.layers):
            name = f"encoder.layer.{layer}."
            mixed = self._attend(name + "attention.", x, there)
            x = self._norm(name + "attention.output.LayerNorm", x + mixed)
            inner = functional.gelu(self._linear(name + "intermediate.dense", x))
            x = self._norm(name + "output.LayerNorm", x + self._linear(name + "output.dense", inner))
        mean = (x * there[..., None]).sum(1) / lengths[:, None]
        return functional.normalize(mean, dim=-1)

    def _attend(self, at: str, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        heads = self.architecture.heads
        q, k, v = (
            self._linear(f"{at}self.{part}", x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )  # (N, H, T, C / H)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None])
        return self._linear(f"{at}output.dense", mixed.transpose(1, 2).flatten(2))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """(N, T, columns) -> (N, T, rows), fp32 in and out."""
        flat = self._matrices[name](x.flatten(0, 1).to(self.dtype))
        return flat.to(torch.float32).unflatten(0, x.shape[:2]) + self._vectors[f"{name}.bias"]

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self._vectors[f"{name}.weight"], self._vectors[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, self.architecture.layer_norm_eps)
