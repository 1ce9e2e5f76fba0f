"""On a GPU, as far as that can be seen without one: tensors that know their device and shape and hold no numbers stand
for the GPU's. They show that nothing is mixed up, where a device is waited for, and which kernels are asked for what.
That the kernels compute the right thing, and how fast, they do not show."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.workloads.serving.conftest import byte_tokenizer
from tests.workloads.serving.serving import Running
from workloads.serving.architecture import Architecture
from workloads.serving.compile import read
from workloads.serving.encoder import Encoder
from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.linear import matrix
from workloads.serving.model import Decoder
from workloads.serving.quantize import quantize
from workloads.serving.sampling import Sampler
from workloads.serving.scheduler import Scheduler
from workloads.serving.schemes import SCHEMES, UnsupportedScheme, find_scheme
from workloads.serving.terms import Options

SHAPE = Architecture(257, 256, 512, 2, 4, 2, 64, 4096, 1e-5, 1e4, 1.0, True, ())
WORDS = EncoderArchitecture(257, 64, 128, 2, 4, 128, 128, 2, 1e-12)
KERNELS = {  # of a scheme's inner matrices on a GPU
    "none": "linear",
    "bf16": "linear",
    "int8-weight-only": "linear",
    "int8-dynamic": "_int_mm",
    "int4-weight-only": "_weight_int4pack_mm",
    "fp8": "_scaled_mm",
}
Serve = Callable[..., Running]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Devices of tensors whose numbers were asked for, which waits for the device; the numbers are made up."""
    asked: list[str] = []

    def numbers(tensor: FakeTensor) -> Any:
        asked.append(tensor.device.type)
        return [1] * tensor.shape[0] if tensor.ndim == 1 else [[1.0] * tensor.shape[1]] * tensor.shape[0]

    monkeypatch.setattr(FakeTensor, "tolist", numbers)
    return asked


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """Tensors without numbers, as on a GPU of the Hopper generation."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


class Kernels(TorchDispatchMode):
    """Counts products on the GPU, and holds them to what the kernels take there."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in KERNELS.values() and args[0].device.type == "cuda":
            self.counts[name] += 1
            if name == "_int_mm":
                assert args[0].shape[0] > 16, "cuBLAS takes no fewer"
                assert all(size % 8 == 0 for size in args[1].shape)
        return func(*args, **(kwargs or {}))


def on_gpu(scheme: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Stored tensors of matrices of these shapes under `scheme`, on the GPU."""
    stored = quantize(((name, torch.empty(shape)) for name, shape in shapes.items()), find_scheme(scheme))
    return {name: tensor.to("cuda") for name, tensor in stored.items()}


def batch(scheme: str, *prompts: int, **options: Any) -> Scheduler:
    """A scheduler on the GPU over prompts of so many tokens, none of which has been read."""
    decoder = Decoder(SHAPE, on_gpu(scheme, SHAPE.tensor_shapes()))
    scheduler = Scheduler(decoder, byte_tokenizer(), 512)
    for size in prompts:
        assert scheduler.admit(list(range(size)), Options(8, **{"temperature": 0, **options})) is not None
    return scheduler


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_prompts_and_answers_of_every_scheme_stay_on_the_gpu_and_wait_for_it_once_a_step(
    scheme: str, waits: list[str]
) -> None:
    scheduler = batch(scheme, 100, 5)
    cache = scheduler.decoder.new_cache(16)
    assert {tensor.device.type for tensor in (*cache.keys, *cache.values)} == {"cuda"}
    with Kernels() as kernels:
        for _ in range(4):
            assert len(scheduler.step()) > 0
    assert waits == ["cuda"] * 4
    # seven inner matrices of two layers, four times, in the scheme's kernel; the output's scores beside them
    assert kernels.counts[KERNELS[scheme]] >= 56, kernels.counts


@pytest.mark.usefixtures("gpu")
def test_answers_that_are_drawn_by_chance_come_from_the_gpu_in_one_piece(
    waits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def choose(sampler: Sampler, scores: torch.Tensor) -> int:
        seen.append(scores.device.type)
        return 1

    monkeypatch.setattr(Sampler, "choose", choose)
    scheduler = batch("bf16", 20, 5, 9, temperature=1.0)
    scheduler.step()
    assert seen == ["cpu"] * 3 and waits == ["cuda"]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_of_an_encoder_are_read_on_the_gpu(scheme: str, waits: list[str]) -> None:
    encoder = Encoder(WORDS, on_gpu(scheme, WORDS.tensor_shapes()), byte_tokenizer())
    vectors, tokens = encoder.embed(["a cat", "sat"])
    assert (len(vectors), len(vectors[0]), tokens, waits) == (2, 64, 8, ["cuda"])


@pytest.mark.usefixtures("gpu")
def test_what_is_compiled_for_a_gpu_reads_its_cache_there() -> None:
    q, keys, positions = (torch.empty(size, device="cuda") for size in ((3, 4, 8), (3, 11, 2, 8), (3,)))
    assert read(q, keys, keys, positions).device.type == "cuda"


@pytest.mark.parametrize(("capability", "refused"), [((8, 6), True), ((8, 9), False)])
def test_fp8_is_refused_on_a_gpu_that_does_not_multiply_it_by_the_gpus_number(
    gpu: FakeTensorMode, capability: tuple[int, int], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = on_gpu("fp8", {name: (32, 64)})
    if not refused:
        assert matrix(tensors, name).device.type == "cuda"
        return
    with pytest.raises(UnsupportedScheme, match=r"'cuda:0' has compute capability 8\.6.*int8-weight-only"):
        matrix(tensors, name)


def test_a_gpu_that_is_not_there_is_a_wrong_flag_and_without_the_flag_the_cpu_answers(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    server = serve(tiny_int8, "--device", "cuda", **hidden)
    assert server.exit_code() == 2
    assert "--device cuda: torch sees no NVIDIA GPU here" in server.log() and "give cpu" in server.log()
    assert " on cpu ready after" in serve(tiny_int8, **hidden).wait_ready().log()
