"""How many operations a token costs, and how many a device can do at most: what MFU is counted from.

MFU (model FLOPs utilization) is the share of the peak that goes into the model itself. It is counted against the dense
peak of the precision that is computed in, and only where the table below has the device by the name that its driver
tells: a part of a GPU, a variant with another clock or a CPU has no MFU here rather than one against a guess.
"""

from dataclasses import dataclass

from workloads.training.model import ModelConfig

UNRESOLVED = "unresolved"
"""Stands for a peak that exists and whose figure was not found in a source."""

TeraFlops = float | str | None  # dense, without sparsity; None: the device does not compute in it


@dataclass(frozen=True)
class Peak:
    names: tuple[str, ...]  # as torch.cuda.get_device_name tells
    bf16: TeraFlops
    fp8: TeraFlops
    source: str  # repository and file, each read on `as_of`; none of them is the maker's own data sheet
    as_of: str = "2026-11-24"


_ENGINEERING = "stas00/ml-engineering compute/accelerator/README.md"
_TITAN = "pytorch/torchtitan torchtitan/tools/utils.py"
_COMPOSER = "mosaicml/composer composer/callbacks/speed_monitor.py"
_NANOCHAT = "karpathy/nanochat harness/runtime.py"
_SPECS = "winston-zhang-orz/gpu-specs specs.md"
_A100 = ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB", "NVIDIA A100-PCIE-40GB", "NVIDIA A100 80GB PCIe")

PEAKS = (
    Peak(("NVIDIA B200",), 2250, 4500, _ENGINEERING),
    Peak(("NVIDIA H200",), 989, 1979, _ENGINEERING),
    Peak(("NVIDIA H200 NVL",), 836, UNRESOLVED, _NANOCHAT),
    Peak(("NVIDIA H100 80GB HBM3",), 989, 1979, _ENGINEERING),
    Peak(("NVIDIA H100 PCIe",), 756, 1513, _ENGINEERING),
    Peak(("NVIDIA H100 NVL",), 835, UNRESOLVED, _TITAN),
    Peak(_A100, 312, None, f"{_TITAN}; {_COMPOSER} (both forms alike, no fp8)"),
    Peak(("NVIDIA L40S",), 362, 733, _ENGINEERING),
    Peak(("NVIDIA L4",), 121, 242, f"{_NANOCHAT} (bf16); {_SPECS} (both)"),
    Peak(("NVIDIA A10G",), UNRESOLVED, None, f"{_COMPOSER} has the A10, with other clocks"),
    Peak(("Tesla T4",), None, None, f"{_COMPOSER} (fp16 only)"),
)


def peak_flops(device: str, precision: str) -> tuple[float | None, str]:
    """Operations per second that a device of this name does at most, or None and why that is not known."""
    row = next((row for row in PEAKS if device in row.names), None)
    if row is None:
        return None, f"there is no peak of {device!r} in peaks.py"
    if precision not in ("bf16", "fp8"):
        return None, f"peaks.py has none for precision {precision}"
    figure = getattr(row, precision)
    if not isinstance(figure, int | float):
        why = "not known from a source yet" if figure == UNRESOLVED else "none: it does not compute in it"
        return None, f"the peak of {device!r} in {precision} is {why}"
    return figure * 1e12, ""


def flops_per_token(config: ModelConfig, parameters: int) -> int:
    """Operations of one token's forward and backward pass: 6 N + 12 L H Q T.

    PaLM (arXiv 2204.02311), appendix B: L layers, H heads of Q values, T positions, attention counted as if it were
    not causal. N are the weights that multiply: a table that is only looked up in, not tied to the output, is left out.
    """
    looked_up = 0 if config.tied else config.vocabulary * config.width
    return (
        6 * (parameters - looked_up) + 12 * config.layers * config.width * config.context
    )  # H Q is the width
