"""How weights are stored: one small config per scheme, in one table. No torch here: a server reads the names first.

Vectors (norms, biases) stay fp32 in every scheme. `max_loss_percent` is how much more bits per byte a published model
may need than its source, unless the caller says otherwise.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Keep:
    """Weights stay as they are, fp32."""

    max_loss_percent: float = 0.0  # what is written is compared value by value


@dataclass(frozen=True, slots=True)
class BFloat16:
    """Matrices become bf16: half the bytes, twice the speed where memory is the limit."""

    max_loss_percent: float = 0.5  # a value moves by at most 0.4 %, evenly up and down


@dataclass(frozen=True, slots=True)
class Int8:
    """Matrices become int8 with one symmetric fp32 scale per row.

    With `dynamic` the inner ones take int8 inputs as well, rounded per token: on a CPU the quickest for many tokens
    in a pass, and for one about as quick as 4 bits. Embedding and output are not dynamic: there one row or exact
    scores are wanted. A decoder's inputs are evened out before (smooth.py).
    """

    dynamic: bool = False
    max_loss_percent: float = 1.0  # either costs some tenths; more means that outliers ate the steps


@dataclass(frozen=True, slots=True)
class Int4:
    """Inner matrices become 4-bit with a bf16 scale and zero per group of columns; embedding and output int8.

    The output matrix decides between tokens and a row of the embedding is all that is known of one, so these two,
    a fifth of a small model, keep eight bits.
    """

    group: int = 32  # the finest that the packed kernel takes: 5 bits a weight, and small models need it
    max_loss_percent: float = (
        10.0  # 16 steps a group: a small model loses some per cent, a broken one far more
    )


@dataclass(frozen=True, slots=True)
class Float8:
    """Inner matrices become float8 (e4m3) with one fp32 scale per row; embedding and output bf16. For GPUs."""

    max_loss_percent: float = 2.0  # three bits of mantissa; not measured on a GPU yet


Scheme = Keep | BFloat16 | Int8 | Int4 | Float8

SCHEMES: dict[str, Scheme] = {
    "none": Keep(),
    "bf16": BFloat16(),
    "int8-weight-only": Int8(),
    "int8-dynamic": Int8(dynamic=True),
    "int4-weight-only": Int4(),
    "fp8": Float8(),
}

FP8_CAPABILITY = (8, 9)  # what torchao 0.18 asks for too (torchao.utils.is_sm_at_least_89)


class UnknownScheme(Exception):
    """No such scheme; the message lists the known ones."""


class UnsupportedScheme(Exception):
    """A device does not compute the scheme; the message names the rule and the remedy."""


def find_scheme(name: str) -> Scheme:
    """The config of the scheme called `name`. Raises UnknownScheme."""
    if name not in SCHEMES:
        raise UnknownScheme(f"--scheme {name!r}: no such scheme; known are {', '.join(SCHEMES)}")
    return SCHEMES[name]


def check_device(scheme: Scheme, device: "torch.device") -> None:
    """Raises UnsupportedScheme unless `device` computes `scheme`."""
    if not isinstance(scheme, Float8):
        return
    import torch  # only this scheme asks the device

    found = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if found is None or found < FP8_CAPABILITY:
        here = "is no CUDA device" if found is None else f"has compute capability {found[0]}.{found[1]}"
        raise UnsupportedScheme(
            f"scheme 'fp8': device {str(device)!r} {here}; float8 products need compute capability "
            f"{FP8_CAPABILITY[0]}.{FP8_CAPABILITY[1]} or newer; use such a GPU, or publish as int8-weight-only"
        )
