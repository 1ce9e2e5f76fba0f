"""The decoder gives the numbers of an independent implementation: random weights, nothing about answers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.workloads.serving.conftest import export
from workloads.manifest import manifest_digest
from workloads.serving.architecture import Architecture, UnsupportedModel
from workloads.serving.artifact import open_artifact
from workloads.serving.linear import PACKED_TOKENS, Int8Linear
from workloads.serving.model import Decoder
from workloads.serving.publish import publish
from workloads.serving.quantize import SCHEMES, quantize
from workloads.serving.storage import read_tensors

TOKENS = torch.tensor([5, 99, 200, 31, 7, 7, 180, 64, 2, 250, 11, 12])


def decoder(folder: Path) -> Decoder:
    artifact = open_artifact(folder, manifest_digest(folder))
    return Decoder(artifact.architecture, read_tensors(artifact.weights))


VARIANTS = {
    "tied": {},
    "separate output": {"tie_word_embeddings": False},
    "linear scaling": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}},
    "wide heads": {"head_dim": 16, "num_key_value_heads": 4},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_fp32_logits_equal_those_of_transformers_at_every_position(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    source = export(tmp_path / "export", **changes)
    publish(str(source), "none", str(tmp_path / "artifact"))
    with torch.no_grad():
        expected = LlamaForCausalLM.from_pretrained(source)(TOKENS[None]).logits[0]
    assert expected.std() > 0.1, "the comparison needs logits that differ"
    torch.testing.assert_close(
        decoder(tmp_path / "artifact").all_logits(TOKENS), expected, atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("tokens", [1, PACKED_TOKENS, PACKED_TOKENS + 1, 70])
@pytest.mark.parametrize(("rows", "columns"), [(48, 64), (257, 32), (3, 40), (1, 33)])
@pytest.mark.parametrize("offset", [0, 1, 8])
def test_the_fast_int8_path_equals_the_plain_one_for_any_size_and_place_in_memory(
    tokens: int, rows: int, columns: int, offset: int
) -> None:
    torch.manual_seed(1)
    stored = quantize({"w": torch.randn(rows, columns)}, SCHEMES["int8-weight-only"])
    placed = torch.empty(rows * columns + offset, dtype=torch.int8)[offset:].view(rows, columns)
    matrix, x = Int8Linear(placed.copy_(stored["w"]), stored["w_scale"]), torch.randn(tokens, columns)
    plain = matrix.plain(x)
    error = (matrix(x.to(torch.bfloat16)).float() - plain).abs().max()
    assert error < 0.02 * plain.abs().max()


def test_int8_output_scores_pick_the_plain_winner_where_bf16_would_tie() -> None:
    weight = torch.full((30, 64), 100, dtype=torch.int8)
    weight[17, 0] = 101  # ahead by far less than bf16 can tell at this size
    matrix = Int8Linear(weight, torch.ones(30))
    x = torch.ones(2, 64)
    assert matrix(x.to(torch.bfloat16))[0].argmax() != 17, "bf16 alone should not see it"
    assert matrix.scores(x).argmax(dim=-1).tolist() == [17, 17]


def test_int8_weights_are_within_half_a_step_of_the_originals() -> None:
    torch.manual_seed(2)
    weight = torch.randn(30, 50)
    stored = quantize({"w": weight}, SCHEMES["int8-weight-only"])
    assert stored["w"].dtype == torch.int8 and stored["w_scale"].shape == (30,)
    off = (stored["w"].float() * stored["w_scale"][:, None] - weight).abs()
    assert bool((off <= stored["w_scale"][:, None] * 0.51).all())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type is 'yarn'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ],
)
def test_a_layout_this_decoder_does_not_compute_is_refused_by_name(
    change: dict[str, Any], words: str
) -> None:
    config = {**LlamaConfig().to_dict(), "architectures": ["LlamaForCausalLM"], **change}
    with pytest.raises(UnsupportedModel, match=words):
        Architecture.from_hf(config)
