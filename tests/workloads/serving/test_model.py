"""The decoder gives the numbers of an independent implementation: random weights, nothing about answers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bench.serving.contender import memory
from tests.workloads.serving.conftest import QUICK, export
from workloads.manifest import manifest_digest
from workloads.serving.architecture import Architecture, UnsupportedModel
from workloads.serving.artifact import open_artifact
from workloads.serving.model import Decoder
from workloads.serving.publish import publish
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
    publish(str(source), "none", str(tmp_path / "artifact"), QUICK)
    with torch.no_grad():
        expected = LlamaForCausalLM.from_pretrained(source)(TOKENS[None]).logits[0]
    assert expected.std() > 0.1, "the comparison needs logits that differ"
    torch.testing.assert_close(
        decoder(tmp_path / "artifact").all_logits(TOKENS), expected, atol=2e-5, rtol=1e-4
    )


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


def test_a_cache_takes_memory_only_where_it_is_reached(tiny: Path, tmp_path: Path) -> None:
    publish(str(tiny), "none", str(tmp_path / "artifact"), QUICK)
    model = decoder(tmp_path / "artifact")
    before = memory()["anonymous"]
    cache = model.new_cache(2**29 // model.position_bytes)
    assert sum(part.nbytes for part in (*cache.keys, *cache.values)) == 2**29
    cache.keys[-1][: 2**12 // 64].fill_(1.0)  # a huge page may come in one piece
    assert memory()["anonymous"] - before < 2**24
    assert not cache.values[-1][-1].any()
