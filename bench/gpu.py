"""What the benchmarks of GPUs ask of the machine."""

import torch


def missing(instead: str) -> str:
    """Why nothing can be measured on this machine, and what to do, such as run `instead`; empty where a GPU is."""
    if torch.cuda.is_available():
        return ""
    return (
        "must run on a machine with an NVIDIA GPU and its driver, torch sees none here; start it on one, "
        f"`{instead}` measures what a CPU can tell"
    )
