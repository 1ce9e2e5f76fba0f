"""The model and one step of the loop: sizes, and each fast path against its plain one."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed import GradBucket, HashStore  # pyright: ignore[reportPrivateImportUsage]
from torch.nn.parallel import DistributedDataParallel

from tests.workloads.training.runs import TINY
from workloads.training import step, train
from workloads.training.config import TrainConfig
from workloads.training.data import load_corpus
from workloads.training.evaluation import evaluate
from workloads.training.model import LanguageModel, ModelConfig, fused_attention, plain_attention
from workloads.training.optimizer import build_optimizer
from workloads.training.parallel import compile_model
from workloads.training.presets import PARAMETERS, PRESETS
from workloads.training.sampler import Sampler
from workloads.training.step import gradients, losses
from workloads.training.workers import Workers

SMALL = ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, hidden=48, context=32)


def rows(batch: int, config: ModelConfig, seed: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocabulary, (batch, config.context + 1), generator=generator)


def small_model(plain: bool = False) -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(SMALL, plain=plain)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_as_many_parameters_as_it_says(preset: str) -> None:
    with torch.device("meta"):
        assert LanguageModel(PRESETS[preset]).parameter_count() == PARAMETERS[preset]


def test_every_preset_breaks_no_rule() -> None:
    assert {name: shape.problems() for name, shape in PRESETS.items()} == {name: [] for name in PRESETS}


def test_an_untied_head_and_full_key_value_heads_cost_what_they_hold() -> None:
    plain = LanguageModel(SMALL).parameter_count()
    assert LanguageModel(replace(SMALL, tied=False)).parameter_count() == plain + 257 * 32
    assert LanguageModel(replace(SMALL, key_value_heads=4)).parameter_count() == plain + 2 * 2 * 32 * 16


def test_124m_takes_a_step_that_lowers_its_loss_on_the_same_rows() -> None:
    config = TrainConfig(model=replace(PRESETS["124m"], context=8), preset="124m")
    torch.manual_seed(0)
    model = LanguageModel(config.model)
    given = rows(1, config.model)
    optimizer = build_optimizer(model, config)
    before = gradients(model, given, config)
    for group in optimizer.param_groups:
        group["lr"] = 1e-4
    optimizer.step()
    with torch.no_grad():
        after = losses(model, given, config).mean()
    assert before == pytest.approx(10.8, abs=0.3), "near log(50304) for fresh weights"
    assert after < before - 0.1


@pytest.mark.parametrize("key_value_heads", [1, 2, 6])
def test_fused_attention_equals_the_plain_one_forward_and_backward(key_value_heads: int) -> None:
    generator = torch.Generator().manual_seed(2)
    heads = (6, key_value_heads, key_value_heads)
    given = [torch.randn(2, count, 24, 8, generator=generator, requires_grad=True) for count in heads]
    fused, plain = fused_attention(*given), plain_attention(*given)
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-5)
    weight = torch.randn(fused.shape, generator=generator)
    for one, other in zip(
        torch.autograd.grad((fused * weight).sum(), given),
        torch.autograd.grad((plain * weight).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ten_steps_of_the_fast_paths_equal_ten_of_the_plain_ones(precision: str) -> None:
    seen = {}
    for plain in (False, True):
        config = TrainConfig(model=SMALL, plain=plain, precision=precision)
        model = small_model(plain)
        optimizer = build_optimizer(model, config)
        assert optimizer.defaults["fused"] is not plain
        seen[plain] = []
        for _ in range(10):
            seen[plain].append(gradients(model, rows(4, SMALL), config).item())
            optimizer.step()
            optimizer.zero_grad()
    tolerance = {"fp32": 1e-5, "bf16": 2e-2}[precision]
    assert seen[False] == pytest.approx(seen[True], abs=tolerance)
    assert seen[True][-1] < seen[True][0] - 0.1


def test_ten_steps_in_bf16_equal_ten_in_fp32_to_its_precision() -> None:
    seen = {}
    for precision in ("fp32", "bf16"):
        config, model = TrainConfig(model=SMALL, precision=precision), small_model()
        optimizer = build_optimizer(model, config)
        seen[precision] = []
        for _ in range(10):
            seen[precision].append(gradients(model, rows(4, SMALL), config).item())
            optimizer.step()
            optimizer.zero_grad()
    assert seen["bf16"] == pytest.approx(seen["fp32"], abs=2e-2) and seen["bf16"] != seen["fp32"]
    assert all(weight.dtype == torch.float32 for weight in model.parameters())


def test_the_model_is_one_graph_for_the_compiler_that_computes_the_same() -> None:
    """Traced and differentiated as for inductor, but not made to C++: a compiler is no prerequisite of the tests."""
    torch._dynamo.reset()
    eager, compiled = small_model(), small_model()
    compiled.compile(fullgraph=True, backend="aot_eager")  # fullgraph: a break in the graph is an error
    config = TrainConfig(model=SMALL)
    given = rows(4, SMALL)
    torch.testing.assert_close(gradients(compiled, given, config), gradients(eager, given, config))
    for one, other in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert compiled.state_dict().keys() == eager.state_dict().keys()


def test_the_gradient_that_the_weights_move_by_is_cut_to_the_largest_norm(corpus: Path) -> None:
    config = TrainConfig(model=SMALL, data=str(corpus), clip=0.01)
    text, model = load_corpus(config), small_model()
    optimizer = build_optimizer(model, config)
    norms: list[torch.Tensor] = []
    optimizer.register_step_pre_hook(
        lambda *_: norms.append(
            torch.cat(
                [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
            ).norm()
        )
    )
    sampler = Sampler(len(text.training), SMALL.context, seed=0)
    run = step.Run(
        config, Workers(0, 0, 1), torch.device("cpu"), text, sampler, model, optimizer, model, step=1
    )
    _, before = step.take_step(run)
    assert before > 0.1 and [norm.item() for norm in norms] == pytest.approx([0.01], rel=1e-3)


def test_decay_takes_the_matrices_and_leaves_the_scales() -> None:
    config = TrainConfig(model=SMALL, weight_decay=0.5)
    model = small_model()
    optimizer = build_optimizer(model, config)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step()
    for name, weight in model.named_parameters():
        kept = 1.0 if name.endswith("norm.weight") else 1 - 0.1 * 0.5
        torch.testing.assert_close(weight.detach(), before[name] * kept)


def test_parts_of_a_batch_add_up_to_the_gradient_of_the_whole() -> None:
    grads = {}
    for parts in (1, 2, 8):
        model = small_model()
        loss = gradients(model, rows(8, SMALL), TrainConfig(model=SMALL, accumulate=parts))
        grads[parts] = [loss, *(weight.grad for weight in model.parameters())]
    for parts in (2, 8):
        for one, other in zip(grads[1], grads[parts], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.fixture
def alone_in_a_group():
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone_in_a_group")
def test_gradients_are_exchanged_once_a_step_however_many_its_parts() -> None:
    parallel = DistributedDataParallel(small_model())
    exchanged = []

    def count(state: None, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
        exchanged.append(bucket.index())
        future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    parallel.register_comm_hook(None, count)
    gradients(parallel, rows(8, SMALL), TrainConfig(model=SMALL, accumulate=4))
    assert exchanged == [0]


@pytest.mark.usefixtures("alone_in_a_group")
def test_a_compiled_model_sends_gradients_while_its_backward_pass_goes_on() -> None:
    torch._dynamo.reset()
    torch.manual_seed(1)
    shape = ModelConfig(
        width=256, layers=3, heads=4, hidden=512, context=16
    )  # above 2 MB of gradients a layer
    config = TrainConfig(model=shape, bucket_mb=1)
    model = LanguageModel(shape)
    compile_model(model, config, backend="aot_eager")
    parallel = DistributedDataParallel(model, bucket_cap_mb=config.bucket_mb)
    loss = losses(parallel, rows(2, shape), config).mean()
    first = model.get_parameter("layers.0.self_attn.q_proj.weight")
    last = model.get_parameter("layers.2.mlp.down_proj.weight")
    order: list[str] = []
    last.register_post_accumulate_grad_hook(lambda weight: order.append("last layer's gradient"))
    node_before(first, loss).register_prehook(lambda grads: order.append("first layer"))
    loss.backward()
    assert order == ["last layer's gradient", "first layer"]


def node_before(weight: torch.Tensor, loss: torch.Tensor) -> torch.autograd.graph.Node:
    """The part of the backward pass that makes this weight's gradient."""
    assert loss.grad_fn is not None
    todo, seen = [loss.grad_fn], set()
    while todo:
        node = todo.pop()
        following = [after for after, _ in node.next_functions if after is not None]
        if any(getattr(after, "variable", None) is weight for after in following):
            return node
        todo += [after for after in following if after not in seen]
        seen.update(following)
    raise AssertionError("no part of the backward pass makes it")


class Rows:
    """Rows that note what is asked of them: there is no GPU to bring any to."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def pin_memory(self) -> "Rows":
        self.asked.append("pinned")
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> "Rows":
        self.asked.append((device.type, non_blocking))
        return self


@pytest.mark.parametrize(
    ("device", "asked"), [("cuda", ["pinned", ("cuda", True)]), ("cpu", [("cpu", True)])]
)
def test_only_a_gpu_fetches_its_rows_from_pinned_memory_and_nothing_waits_for_it(
    device: str, asked: list[object]
) -> None:
    given = Rows()
    step.on_device(given, torch.device(device))  # pyright: ignore[reportArgumentType]
    assert given.asked == asked


def test_an_evaluation_reads_no_more_rows_at_a_time_than_a_training_step(corpus: Path) -> None:
    config = TrainConfig(
        data=str(corpus), model=SMALL, batch=8, accumulate=4, evaluation_bytes=20 * SMALL.context + 1
    )
    model, read = small_model(), []
    model.register_forward_pre_hook(lambda module, given: read.append(len(given[0])))
    found = load_corpus(config)
    result = evaluate(model, found, config, Workers(0, 0, 1), torch.device("cpu"))
    assert read and set(read) <= {1, 2} and max(read) == 2 and sum(read) == 21
    whole = evaluate(
        model, found, replace(config, batch=64, accumulate=1), Workers(0, 0, 1), torch.device("cpu")
    )
    assert read[-1] == 21 and result == pytest.approx(whole, rel=1e-6)


def test_no_step_is_interrupted_by_the_garbage_collector(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule, running = step.learning_rate, []

    def note(*given) -> float:
        running.append(gc.isenabled())
        return schedule(*given)

    monkeypatch.setattr(step, "learning_rate", note)
    assert train.main([*TINY, "--data", str(corpus), "--output", str(tmp_path / "model")]) == 0
    assert running == [False] * 6
    assert gc.isenabled() and gc.get_freeze_count() == 0
