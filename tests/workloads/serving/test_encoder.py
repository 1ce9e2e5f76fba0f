"""Sentence embeddings: the numbers of an independent implementation, and published like any other model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, BertModel

from tests.workloads.serving.conftest import MINILM, QUICK
from workloads.manifest import ManifestError
from workloads.serving.architecture import UnsupportedModel
from workloads.serving.artifact import open_artifact
from workloads.serving.encoder import BATCH, Encoder
from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.publish import publish
from workloads.serving.source import _package_path, read_source
from workloads.serving.storage import read_tensors
from workloads.serving.terms import GivenUp, PromptTooLong

TEXTS = [
    "A cat sits on the mat.",
    "Tensor",
    "Kittens like to sleep on carpets, in the sun if there is some.",
    "déjà vu",
]


def encoder(published: dict[str, Any]) -> Encoder:
    opened = open_artifact(Path(published["uri"].removeprefix("file://")), published["digest"])
    return Encoder(opened.encoder, read_tensors(opened.weights), Tokenizer.from_str(opened.tokenizer))


@pytest.fixture(scope="module")
def plain() -> Encoder:
    source = read_source(MINILM)
    assert isinstance(source.architecture, EncoderArchitecture)
    return Encoder(source.architecture, source.tensors, Tokenizer.from_str(source.tokenizer))


def test_embeddings_equal_the_normalized_mean_of_transformers(plain: Encoder) -> None:
    folder = str(_package_path(MINILM))
    read = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = BertModel.from_pretrained(folder)(**read).last_hidden_state
    mask = read["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    vectors, tokens = plain.embed(TEXTS)
    torch.testing.assert_close(torch.tensor(vectors), expected, atol=1e-4, rtol=0)
    assert tokens == int(mask.sum())


def test_a_text_has_the_same_embedding_alone_and_among_others(plain: Encoder) -> None:
    many, _ = plain.embed(TEXTS * 10)
    alone, _ = plain.embed(TEXTS[:1])
    torch.testing.assert_close(torch.tensor(many[4 * 9]), torch.tensor(alone[0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("scheme", "size", "cosine"), [("int8-dynamic", 0.26, 0.99), ("int4-weight-only", 0.22, 0.95)]
)
def test_a_quantized_encoder_is_small_and_keeps_its_embeddings(
    plain: Encoder, tmp_path: Path, scheme: str, size: float, cosine: float
) -> None:
    published = publish(MINILM, scheme, str(tmp_path / "out"), QUICK)
    assert published["bytes_after"] <= size * published["bytes_before"]
    assert published["quality"]["after"] > cosine
    ours, theirs = (torch.tensor(model.embed(TEXTS)[0]) for model in (encoder(published), plain))
    assert float((ours * theirs).sum(-1).min()) > cosine - 0.03
    opened = open_artifact(tmp_path / "out", published["digest"])
    with pytest.raises(ManifestError, match="expected a decoder, found an encoder"):
        _ = opened.architecture


def test_a_text_beyond_the_context_is_refused_with_its_place(plain: Encoder) -> None:
    with pytest.raises(PromptTooLong, match="maximum context length is 256 tokens; text 1 has .* tokens"):
        plain.embed(["short", "word " * 300])


def test_a_text_that_cannot_fit_is_refused_before_it_is_cut_into_tokens(plain: Encoder) -> None:
    asked = iter([True])
    rule = "256 tokens, and a text of more than 102400 bytes is not cut into them; text 1 has 102401 bytes"
    with pytest.raises(PromptTooLong, match=rule):
        plain.embed(["short", "x" * 102_401], lambda: next(asked))
    assert next(asked), "it was asked for before the text was refused"


@pytest.mark.parametrize("batches", [1, 4], ids=["while texts are cut", "while vectors are made"])
def test_no_batch_begins_when_nobody_waits_any_more(plain: Encoder, batches: int) -> None:
    asked = iter([False] * batches + [True])
    with pytest.raises(GivenUp):
        plain.embed(["a"] * (2 * BATCH + 1), lambda: next(asked))


@pytest.mark.parametrize(
    ("change", "pooling", "words"),
    [
        ({"hidden_act": "relu"}, {}, "hidden_act is 'relu'"),
        ({"position_embedding_type": "relative_key"}, {}, "position_embedding_type is 'relative_key'"),
        ({}, {"pooling_mode_cls_token": True}, "pooling_mode_cls_token"),
    ],
)
def test_an_encoder_that_is_not_computed_is_refused_by_name(
    change: dict[str, Any], pooling: dict[str, Any], words: str
) -> None:
    config = json.loads((_package_path(MINILM) / "config.json").read_text())
    with pytest.raises(UnsupportedModel, match=words):
        EncoderArchitecture.from_hf({**config, **change}, {}, pooling)
