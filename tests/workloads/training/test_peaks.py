import pytest
import torch

from workloads.training.model import LanguageModel
from workloads.training.peaks import PEAKS, UNRESOLVED, flops_per_token, peak_flops
from workloads.training.presets import PARAMETERS, PRESETS


def test_a_device_is_known_by_its_exact_name_and_by_the_precision_it_computes_in() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3", "bf16") == (989e12, "")
    assert peak_flops("NVIDIA H100 80GB HBM3", "fp8") == (1979e12, "")
    assert peak_flops("NVIDIA H100 PCIe", "bf16") == (756e12, "")


@pytest.mark.parametrize(
    ("device", "precision", "why"),
    [
        ("cpu", "bf16", "no peak of 'cpu'"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16", "no peak of"),
        ("NVIDIA H100 80GB HBM3", "fp32", "none for precision fp32"),
        ("NVIDIA A100-SXM4-80GB", "fp8", "does not compute in it"),
        ("NVIDIA H100 NVL", "fp8", "not known from a source yet"),
    ],
)
def test_there_is_no_peak_by_guess_and_a_reason_instead(device: str, precision: str, why: str) -> None:
    peak, said = peak_flops(device, precision)
    assert peak is None and why in said


def test_every_row_has_a_source_and_a_date_and_no_name_is_in_two() -> None:
    names = [name for row in PEAKS for name in row.names]
    assert len(names) == len(set(names))
    for row in PEAKS:
        assert row.source and row.as_of >= "2026-01-01"
        assert {type(value) for value in (row.bf16, row.fp8)} <= {int, float, type(None), str}
        assert all(value == UNRESOLVED for value in (row.bf16, row.fp8) if isinstance(value, str))


def test_a_token_costs_what_its_matrix_products_cost() -> None:
    # torch counts the products of a step itself; on the meta device, where nothing is computed
    from torch.utils.flop_counter import FlopCounterMode

    shape = PRESETS["tiny"]
    with torch.device("meta"):
        model = LanguageModel(shape, plain=True)
        tokens = torch.zeros(2, shape.context, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(tokens, tokens).sum().backward()
    counted = counter.get_total_flops() / tokens.numel()
    assert flops_per_token(shape, PARAMETERS["tiny"]) == pytest.approx(counted, rel=0.01)
