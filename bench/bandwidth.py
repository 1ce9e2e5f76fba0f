"""How fast a GPU's memory is: a step that decodes is counted against it, since it reads every weight once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bandwidth:
    names: tuple[str, ...]  # as torch.cuda.get_device_name tells
    terabytes: float  # a second, the maker's peak
    source: str  # none of them is the maker's own data sheet
    as_of: str = "2026-11-25"


_ENGINEERING = "stas00/ml-engineering compute/accelerator/README.md at 00744732"
_GOOGLE = "huggingface.co/spaces/Elfsong/gcp_allocator (Google's table of GPUs, copied)"
_CATALOG = "huggingface.co/RajBhope/gpu-runtime-predictor gpu_catalog.json"

BANDWIDTHS = (
    Bandwidth(("NVIDIA B200",), 8.0, _ENGINEERING),
    Bandwidth(("NVIDIA H200",), 4.8, _ENGINEERING),
    Bandwidth(("NVIDIA H100 80GB HBM3",), 3.35, _ENGINEERING),
    Bandwidth(("NVIDIA H100 PCIe",), 2.0, _ENGINEERING),
    Bandwidth(("NVIDIA A100-SXM4-80GB",), 2.0, _ENGINEERING),
    Bandwidth(("NVIDIA A100-SXM4-40GB",), 1.6, _GOOGLE),
    Bandwidth(("NVIDIA L40S",), 0.86, _ENGINEERING),
    Bandwidth(("NVIDIA L4",), 0.3, _GOOGLE),
    Bandwidth(("NVIDIA A10G",), 0.6, _CATALOG),
    Bandwidth(("Tesla T4",), 0.32, _GOOGLE),
)


def bytes_per_second(device: str) -> float | None:
    """Of the GPU of this name; None where the table has no row for it."""
    row = next((row for row in BANDWIDTHS if device in row.names), None)
    return row.terabytes * 1e12 if row else None
