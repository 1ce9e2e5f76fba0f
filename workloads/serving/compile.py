"""The decoding layer compiled ahead of time, by AOTInductor, for this processor:

    python -m workloads.serving.compile --model-uri file:///artifacts/coder-int8 --digest sha256:... \\
        --threads 2 --output /var/cache/skerry

One layer is compiled and run for all: they differ in their tensors only, which whoever loads the code gives it. So it
takes seconds and not minutes, and one file serves every model of a shape. The compiler fuses what surrounds the
matrices, and reading the cache with attention, which is written out in sums there; the plain path copies the keys that
it reads.

The file is code: a folder that others may write to is refused. It lies outside a model's digest, and its name
says what it was made from, so another torch, processor or version of this program never loads it.
Needs a C++ compiler; a server without one answers all the same, on the plain path. For a GPU the kernels are
Triton's, which has not run yet.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workloads.manifest import ManifestError
from workloads.serving.architecture import Architecture
from workloads.serving.artifact import Artifact, open_artifact
from workloads.serving.device import DEVICES, NoDevice, find_device
from workloads.serving.layer import Layer, Rotation, layer_forward
from workloads.serving.linear import Int4Linear
from workloads.serving.model import Cache, Decoder, Pass
from workloads.serving.native import NativeLayer, native_code
from workloads.serving.source import SourceError, local_path
from workloads.serving.storage import read_tensors

SEQUENCES = {"cpu": 16, "cuda": 64}  # of one compiled pass: on a CPU as many as the packed kernels take
COMPILER = {
    "aot_inductor.precompile_headers": False,  # they are read once: to prepare them first takes longer
    "aot_inductor.package_constants_in_so": False,  # a layer's tensors are those of whoever loads the code
}
TENSOR = "tensor_"  # and its place in a layer: the name of a constant in the compiled code
REFUSED, NO_COMPILER, ENDED = 2, 3, 4
_SOURCES = ("compile.py", "layer.py", "linear.py")  # what the compiled code follows from


class FastLayers:
    """Runs a compiled layer over all layers of a decoder."""

    def __init__(self, file: Path, decoder: Decoder) -> None:
        constants = [partial(constant, layer) for layer in decoder.layers]
        if decoder.device.type == "cpu":
            code = native_code(file)
            self._layers = [NativeLayer(code, of_layer) for of_layer in constants]
        else:
            self._layers = [loaded_by_torch(file, of_layer) for of_layer in constants]
        self.sequences = SEQUENCES[decoder.device.type]

    def __call__(self, x: torch.Tensor, rotation: Rotation, step: Pass, cache: Cache) -> torch.Tensor:
        assert step.decoding is not None
        # the compiled code takes strides for granted: all inputs are contiguous
        common = [*rotation, step.positions, step.places, step.decoding.contiguous()]
        for layer, keys, values in zip(self._layers, cache.keys, cache.values, strict=True):
            x = layer([x, *common, keys, values])
        return x


def constant(layer: Layer, name: str) -> torch.Tensor:
    """What the compiled code knows by `name`. Raises ValueError for what this layer has not."""
    if name.startswith(TENSOR):
        return layer.tensors()[int(name.removeprefix(TENSOR))]
    # of the group's size the compiler makes a constant, once for each product
    if isinstance(layer.q, Int4Linear):
        return torch.tensor(layer.q.group)
    raise ValueError(f"the compiled code asks for {name}, which no layer has")


def loaded_by_torch(
    file: Path, constant: Callable[[str], torch.Tensor]
) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    """A layer for a GPU: it only starts kernels there, so torch's own way does."""
    # the class behind torch._inductor.aoti_load_package, without importing the whole compiler
    loader: Any = torch._C
    with _unpacked_for_now():
        package = loader._aoti.AOTIModelPackageLoader(str(file), "model", False, 1, -1)
    constants = {name: constant(name) for name in package.get_constant_fqns()}
    package.load_constants(constants, use_inactive=False, check_full_update=True, user_managed=True)
    return lambda inputs: package.boxed_run(inputs)[0]


@contextmanager
def _unpacked_for_now() -> Iterator[None]:
    """What is unpacked within is gone afterwards: once loaded, the files are not read again, and would be left."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="skerry-layers-") as folder:
        os.environ["TMPDIR"] = folder  # the loader knows no other way
        try:
            yield
        finally:
            os.environ.pop("TMPDIR")
            if before is not None:
                os.environ["TMPDIR"] = before


class _DecodeLayer(nn.Module):
    """One layer over N sequences that decode, as a function of tensors only; its own are constants to the compiler."""

    def __init__(self, architecture: Architecture, layer: Layer) -> None:
        super().__init__()
        self._architecture = architecture
        self._layer = layer
        for index, tensor in enumerate(layer.tensors()):
            self.register_buffer(f"{TENSOR}{index}", tensor)

    def forward(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        x, cos, sin, positions, places, table, keys, values = inputs

        def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            keys.index_copy_(0, places, k)
            values.index_copy_(0, places, v)
            return read(q, keys[table], values[table], positions)

        layer = self._layer.over(list(self.buffers()))
        return layer_forward(self._architecture, layer, x, (cos, sin), attend)


def read(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Attention of q (N, H, D) over keys and values (N, S, K, D) up to `positions` (N,), in sums: (N, H * D)."""
    count, length, kv_heads, size = keys.shape
    groups = q.to(torch.float32).view(count, 1, kv_heads, -1, size) * size**-0.5
    scores = (groups * keys.to(torch.float32)[:, :, :, None]).sum(-1)  # (N, S, K, H / K)
    unseen = torch.arange(length, device=q.device) > positions[:, None]
    chances = scores.masked_fill(unseen[:, :, None, None], -torch.inf).softmax(1)
    mixed = (chances[..., None] * values.to(torch.float32)[:, :, :, None]).sum(1)
    return mixed.reshape(count, -1).to(q.dtype)


def file_name(artifact: Artifact, threads: int, device: torch.device) -> str:
    """The name of what would be compiled: a digest over all that it follows from."""
    here = Path(__file__).parent
    facts = {
        "architecture": artifact.architecture.to_dict(),
        "scheme": artifact.scheme,
        "threads": threads,  # of which the compiled loops are cut into
        "torch": torch.__version__,
        "processor": _processor() if device.type == "cpu" else _gpu(device),
        "sources": [hashlib.sha256((here / name).read_bytes()).hexdigest() for name in _SOURCES],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32] + ".pt2"


def compiled(artifact: Artifact, decoder: Decoder, threads: int, folder: Path) -> Path:
    """The file in `folder` for this model and machine, compiled first where it is missing."""
    device = decoder.device
    target = folder / file_name(artifact, threads, device)
    if target.exists():
        return target
    torch.set_num_threads(threads)
    sequences, length, room = (torch.export.Dim(name, min=low, max=high) for name, low, high in (
        ("sequences", 1, SEQUENCES[device.type]), ("length", 2, 2**24), ("room", 2, 2**31))
    )  # fmt: skip
    layer, a = decoder.layers[0], artifact.architecture
    cache = torch.zeros(64, a.kv_heads, a.head_dim, dtype=decoder.dtype, device=device)
    places = torch.arange(3, device=device) * 20
    # each with the sizes that may change; three sequences of five positions stand for any. No tensor twice:
    # two inputs that are one here would be taken for one for ever
    step = {
        "x": (torch.zeros(3, a.hidden_size, device=device), {0: sequences}),
        "cos": (torch.zeros(3, 1, a.head_dim // 2, device=device), {0: sequences}),
        "sin": (torch.zeros(3, 1, a.head_dim // 2, device=device), {0: sequences}),
        "positions": (torch.full((3,), 4, device=device), {0: sequences}),
        "places": (places, {0: sequences}),
        "table": (places[:, None] + torch.arange(5, device=device), {0: sequences, 1: length}),
        "keys": (cache, {0: room}),
        "values": (cache.clone(), {0: room}),
    }
    inputs = [tensor for tensor, _ in step.values()]
    sizes = [size for _, size in step.values()]
    program = torch.export.export(_DecodeLayer(a, layer), (inputs,), dynamic_shapes=(sizes,))
    with tempfile.TemporaryDirectory(dir=folder) as work:
        made = torch._inductor.aoti_compile_and_package(
            program, package_path=str(Path(work) / target.name), inductor_configs=COMPILER
        )
        os.replace(made, target)
    return target


def owned(folder: Path) -> Path:
    """`folder`, made if it is missing. Raises PermissionError where others could put code into it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.stat()
    if facts.st_uid not in (os.getuid(), 0) or stat.S_IMODE(facts.st_mode) & 0o022:
        raise PermissionError(f"{folder}: others can write there, and what lies there is run; chmod go-w it")
    return folder


def has_compiler() -> bool:
    """Whether torch will find a C++ compiler."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def _processor() -> list[str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return sorted({line for line in lines if line.startswith(("model name", "flags"))})


def _gpu(device: torch.device) -> list[str]:
    return [torch.cuda.get_device_name(device), str(torch.cuda.get_device_capability(device))]


def _work_in(folder: Path) -> None:
    """Temporary files lie in `folder`, under another name: torch cuts the compiler's command at spaces of a path."""
    os.chdir(folder)
    tempfile.tempdir = f"/proc/{os.getpid()}/cwd"
    os.environ["TMPDIR"] = os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.tempdir


def _end_with_stdin() -> None:
    sys.stdin.read()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # compilers and workers too: none writes into what is being removed
    os._exit(ENDED)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0 compiled or already there, 2 a wrong flag, folder or model, 3 no C++
    compiler."""
    parser = argparse.ArgumentParser(prog="python -m workloads.serving.compile", description="Compile ahead.")
    parser.add_argument("--model-uri", required=True, help="a published folder")
    parser.add_argument("--digest", required=True, help="its sha256:<hex>")
    parser.add_argument("--threads", type=int, required=True, help="as the server will be given")
    parser.add_argument("--output", required=True, type=Path, help="the server's --compile-cache")
    parser.add_argument("--device", choices=DEVICES, help="as the server will be given")
    parser.add_argument(
        "--work", type=Path, help="where what compiling leaves lies about; its giver removes it"
    )
    parser.add_argument("--until-stdin-closes", action="store_true", help="end early with who started it")
    args = parser.parse_args(argv)
    if args.threads < 1:
        parser.error(
            f"--threads {args.threads}: write a whole number of at least 1, as the server will be given"
        )
    if args.until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    if not has_compiler():
        print("compile: no C++ compiler (g++, or $CXX); install one", file=sys.stderr)
        return NO_COMPILER
    try:
        artifact = open_artifact(local_path(args.model_uri, "--model-uri"), args.digest)
        architecture = artifact.architecture
        device = find_device(args.device)
    except (ManifestError, SourceError, NoDevice) as error:
        print(f"compile: {error}", file=sys.stderr)
        return REFUSED
    try:
        folder = owned(args.output.absolute())
    except OSError as error:
        print(f"compile: --output {error}", file=sys.stderr)
        return REFUSED
    decoder = Decoder(architecture, read_tensors(artifact.weights, device))
    if args.work:
        _work_in(args.work)
    print(compiled(artifact, decoder, args.threads, folder), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
