"""Smoothing changes what is rounded and not what is computed."""

import pytest
import torch
from tokenizers import Tokenizer

from tests.workloads.serving.conftest import export
from workloads.serving.architecture import Architecture
from workloads.serving.model import Decoder
from workloads.serving.smooth import INPUTS, peaks, smoothed
from workloads.serving.source import Source, read_source


@pytest.fixture(scope="module", params=[2, 4])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A model whose inputs have an outlier each; four heads share two or four keys and values."""
    folder = tmp_path_factory.mktemp("smooth") / "model"
    made = read_source(str(export(folder, num_key_value_heads=request.param)))
    for name, tensor in made.tensors.items():
        if any(name.endswith(each.maker) for each in INPUTS.values()):
            tensor[7] *= 64
    made.tensors["model.layers.0.mlp.up_proj.weight"][9] = 0  # an input that is never there
    return made


def decoder(source: Source, tensors: dict[str, torch.Tensor]) -> Decoder:
    assert isinstance(source.architecture, Architecture)
    return Decoder(source.architecture, tensors)


def test_a_smoothed_model_computes_the_same(source: Source) -> None:
    tokenizer = Tokenizer.from_str(source.tokenizer)
    before = {name: tensor.clone() for name, tensor in source.tensors.items()}
    tensors = dict(smoothed(source.tensors, decoder(source, source.tensors), tokenizer))
    tokens = torch.randint(256, (60,), generator=torch.Generator().manual_seed(1))
    expected = decoder(source, before).all_logits(tokens)
    torch.testing.assert_close(decoder(source, tensors).all_logits(tokens), expected, atol=2e-3, rtol=1e-4)
    assert tensors.keys() == before.keys()
    assert all(torch.equal(source.tensors[name], tensor) for name, tensor in before.items()), "left alone"
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_no_input_keeps_its_outlier(source: Source) -> None:
    tokenizer = Tokenizer.from_str(source.tokenizer)
    tensors = dict(smoothed(source.tensors, decoder(source, source.tensors), tokenizer))
    before, after = (peaks(decoder(source, each), tokenizer) for each in (source.tensors, tensors))
    for layer, (first, then) in enumerate(zip(before, after, strict=True)):
        for field in INPUTS:
            steps = [float(each[field].max() / each[field].median()) for each in (first, then)]
            assert steps[1] < steps[0] / 2, (layer, field)
