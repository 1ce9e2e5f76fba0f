"""Where a model is computed. No GPU was there while this was written: what a GPU does has not run.

A model is wherever its tensors are: they are read onto a device, and caches, positions and masks follow them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda")


class NoDevice(Exception):
    """The device that was asked for is not here; the message says what to do."""


def find_device(name: str | None) -> "torch.device":
    """The device called `name`; without one a GPU where torch sees one, for whoever pays for a GPU wants it used.

    Raises NoDevice.
    """
    import torch  # slow, and a server answers for its health before

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        built = "it was built without CUDA" if torch.version.cuda is None else "is a driver there?"
        raise NoDevice(
            f"--device cuda: torch sees no NVIDIA GPU here ({built}); give cpu, or leave the flag out"
        )
    return torch.device("cuda", 0) if there and name != "cpu" else torch.device("cpu")


def free_bytes(device: "torch.device") -> int:
    """Bytes that the device could still give."""
    import torch

    return torch.cuda.mem_get_info(device)[0]
