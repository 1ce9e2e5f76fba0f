import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, Metadata

from tests.waiting import HANG_SECONDS
from tests.workloads.training.runs import ENDLESS, ROOT, await_first_step, start
from workloads.training.checkpoint import FACTS, LATEST, Checkpoints, Learner, sealed, unsealed
from workloads.training.checkpoint_files import METADATA, share, unpickled
from workloads.training.config import TrainConfig
from workloads.training.flags import ConfigError
from workloads.training.lease import Lease, LeaseLost
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.optimizer import build_optimizer
from workloads.training.step import gradients
from workloads.training.store import Store, Unreachable, waits
from workloads.training.workers import Workers, run_name

SMALL = ModelConfig(width=16, layers=1, heads=2, key_value_heads=1, hidden=24, context=8)
ALONE = Workers(rank=0, local=0, world=1)


def learner(seed: int) -> Learner:
    torch.manual_seed(seed)
    model = LanguageModel(SMALL)
    return Learner(model, build_optimizer(model, TrainConfig(model=SMALL)))


def learn(one: Learner) -> None:
    """One step that moves every weight and moment."""
    gradients(one.model, torch.randint(0, 257, (2, 9)), TrainConfig(model=SMALL))
    one.optimizer.step()
    one.optimizer.zero_grad()


def numbers(one: Learner) -> list[torch.Tensor]:
    moments = [value for state in one.optimizer.state.values() for value in state.values()]
    return [value.clone() for value in (*one.model.state_dict().values(), *moments)]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints([Store(str(tmp_path / "place"), patience=0.1)], keep=2, workers=ALONE)


def test_weights_moments_and_random_state_come_back_as_they_were(checkpoints: Checkpoints) -> None:
    before, after = learner(1), learner(2)
    learn(before)
    checkpoints.save(before, {"step": 7, "colour": "red"})
    kept, drawn = numbers(before), torch.rand(3)
    assert checkpoints.finish()
    facts = checkpoints.restore(after, {"colour": "red"})
    assert facts and (facts["step"], facts["world_size"]) == (7, 1)
    assert torch.equal(torch.rand(3), drawn)
    assert len(kept) == len(numbers(after)) > len(list(after.model.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(kept, numbers(after), strict=True))


def test_workers_that_hold_the_same_copy_a_fair_part_each_and_together_all_of_it() -> None:
    one, world = learner(1), 3
    learn(one)
    whole = share(one.tensors([0]), 0, 1)
    parts = [share(one.tensors([rank]), rank, world) for rank in range(world)]
    held = [
        {name: value for name, value in part.items() if isinstance(value, torch.Tensor)} for part in parts
    ]
    assert [f"random.{rank}" in part for rank, part in enumerate(held)] == [True] * world
    names = [name for part in held for name in part if not name.startswith("random.")]
    assert len(names) == len(set(names)) and set(names) | {"random.0"} == {
        name for name, value in whole.items() if isinstance(value, torch.Tensor)
    }
    sizes = [sum(part[name].nbytes for name in part if name in whole and name in names) for part in held]
    assert max(sizes) - min(sizes) <= max(held[0][name].nbytes for name in held[0] if name in names)


class BesideAGpu(Learner):
    """As where there is a GPU: it has a random state too."""

    def tensors(self, ranks: list[int]) -> dict[str, Any]:
        tensors = super().tensors(ranks)
        tensors["random"] |= {f"cuda-{rank}": torch.tensor([7], dtype=torch.uint8) for rank in ranks}
        return tensors


def test_what_was_kept_without_a_gpu_is_loaded_beside_one_and_the_other_way_round(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after, drawn = learner(1), learner(2), []
    monkeypatch.setattr(torch.cuda, "set_rng_state", drawn.append)
    learn(before)
    checkpoints.save(before, {"step": 1})
    assert checkpoints.finish()
    assert checkpoints.restore(BesideAGpu(after.model, after.optimizer), {}) and drawn == []
    assert all(torch.equal(one, other) for one, other in zip(numbers(before), numbers(after), strict=True))
    checkpoints.save(BesideAGpu(after.model, after.optimizer), {"step": 2})
    assert checkpoints.finish()
    assert checkpoints.restore(learner(3), {}) and drawn == []
    assert checkpoints.restore(BesideAGpu(after.model, after.optimizer), {}) and drawn == [7]


class Planted:
    """Pickled, it is a command for the shell of whoever unpickles it."""

    def __init__(self, file: Path) -> None:
        self.command = f"touch {file}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_planted_metadata_runs_no_code_and_the_checkpoint_before_is_loaded(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (1, 2):
        checkpoints.save(learner(step), {"step": step})
        assert checkpoints.finish()
    [store], newest = checkpoints.places, "step-00000002"
    facts, planted = (
        unsealed(store.read(f"{newest}/{FACTS}") or b""),
        pickle.dumps(Planted(tmp_path / "owned")),
    )
    assert facts
    facts["files"][METADATA] = hashlib.sha256(planted).hexdigest()
    store.write(f"{newest}/{METADATA}", planted)
    store.write(f"{newest}/{FACTS}", sealed(facts))  # who can write the one can write the other
    loaded = checkpoints.restore(learner(3), {})
    assert loaded and loaded["step"] == 1
    assert not (tmp_path / "owned").exists()
    assert ".metadata calls for posix.system, which no checkpoint needs" in capsys.readouterr().err


class Attribute:
    """Pickled, it is an attribute of `owner`: so Python 3.11.2 keeps the member of an enum."""

    def __init__(self, owner: Any, name: str) -> None:
        self.call = getattr, (owner, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def test_a_checkpoint_that_another_release_of_python_wrote_is_read_and_no_other_attribute_is() -> None:
    def kept(value: Any) -> bytes:
        return pickle.dumps(Metadata({}, planner_data=value))

    assert unpickled(kept(Attribute(_MEM_FORMAT_ENCODING, "TORCH_PRESERVE_FORMAT"))).planner_data is (
        _MEM_FORMAT_ENCODING.TORCH_PRESERVE_FORMAT
    )
    for owner, name in ((Metadata, "__init__"), (_MEM_FORMAT_ENCODING, "__class__")):
        with pytest.raises(pickle.UnpicklingError, match=f"'{name}' of what is no enum"):
            unpickled(kept(Attribute(owner, name)))


def test_a_planted_setting_of_the_optimizer_runs_no_code(checkpoints: Checkpoints, tmp_path: Path) -> None:
    planted = learner(1)
    learn(planted)
    planted.optimizer.param_groups[0]["eps"] = Planted(tmp_path / "owned")
    checkpoints.save(planted, {"step": 1})
    assert checkpoints.finish()
    with pytest.raises(
        Unreachable, match="step-00000001: cannot be loaded: optimizer.*eps is no plain value"
    ):
        checkpoints.restore(learner(2), {})
    assert not (tmp_path / "owned").exists()


def test_what_is_written_is_the_state_at_the_call_whatever_is_learned_meanwhile(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, write = learner(1), Checkpoints._write
    learn(one)
    kept = numbers(one)

    def write_later(*given) -> None:
        learn(one)  # the training is faster than the flush
        write(*given)

    monkeypatch.setattr(Checkpoints, "_write", write_later)
    checkpoints.save(one, {"step": 1})
    assert checkpoints.finish()
    again = learner(2)
    checkpoints.restore(again, {})
    assert all(torch.equal(one, other) for one, other in zip(kept, numbers(again), strict=True))


def test_nothing_is_published_at_a_fallback_that_another_process_has_taken_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lost, fallback = (Store(str(tmp_path / name), patience=0.1) for name in ("file/place", "fallback"))
    ours = Lease(fallback, "one", seconds=60)
    theirs = Lease(fallback, "one", seconds=60)
    checkpoints = Checkpoints([lost, fallback], keep=2, workers=ALONE, leases=[ours])
    checkpoints.save(learner(1), {"step": 1})
    with pytest.raises(LeaseLost):
        checkpoints.finish()
    assert fallback.read(LATEST) is None
    ours.release()
    theirs.release()


def test_who_lost_the_lease_neither_writes_nor_removes_what_the_holder_published(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "place"), patience=0.1)
    former = Checkpoints([store], keep=2, workers=ALONE, leases=[Lease(store, "one", seconds=60)])
    holder = Checkpoints([store], keep=2, workers=ALONE, leases=[Lease(store, "one", seconds=60)])
    holder.save(learner(1), {"step": 1, "by": "holder"})
    assert holder.finish()
    before = store.digests("step-00000001")
    former.save(learner(2), {"step": 1, "by": "former"})
    with pytest.raises(LeaseLost):
        former.finish()
    with pytest.raises(LeaseLost):
        former._give_up(store, "step-00000001")  # as after a write that failed
    assert store.digests("step-00000001") == before
    for lease in (*former.leases, *holder.leases):
        lease.release()


def test_what_another_program_keeps_under_such_a_name_is_left_alone(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    for step in (1, 99):
        (tmp_path / f"place/step-{step:08d}").mkdir(parents=True)
        (tmp_path / f"place/step-{step:08d}/weights.pt").write_text("theirs")
    assert checkpoints.restore(learner(1), {}) is None
    for step in (10, 20, 30, 40):
        checkpoints.save(learner(1), {"step": step})
        assert checkpoints.finish()
    facts = checkpoints.restore(learner(2), {})
    assert facts and facts["step"] == 40
    assert all((tmp_path / f"place/step-{step:08d}/weights.pt").read_text() == "theirs" for step in (1, 99))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'"x"', b"\xff\xfe{", b'{"sha256": "", "step": 2}'])
def test_facts_that_are_not_what_was_sealed_are_none(content: bytes) -> None:
    assert unsealed(content) is None
    assert unsealed(sealed({"step": 1, "files": {}})) == {"step": 1, "files": {}}


def test_where_nothing_was_kept_nothing_is_restored(checkpoints: Checkpoints) -> None:
    assert checkpoints.restore(learner(1), {}) is None


def test_what_a_dead_writer_never_published_is_cleared_away(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(learner(1), {"step": 10})
    checkpoints.finish()
    (tmp_path / "place" / "step-00000015").mkdir()
    (tmp_path / "place" / "step-00000015" / "__0_0.distcp").write_text("half")
    facts = checkpoints.restore(learner(2), {})
    assert facts and facts["step"] == 10
    assert checkpoints.places[0].names() == ["latest", "step-00000010"]


def test_a_fact_that_differs_is_named_with_both_values(checkpoints: Checkpoints) -> None:
    checkpoints.save(learner(1), {"step": 1, "data_digest": "sha256:aa"})
    checkpoints.finish()
    with pytest.raises(
        ConfigError, match="has data_digest='sha256:aa' and this run 'sha256:bb'; take another place"
    ):
        checkpoints.restore(learner(1), {"data_digest": "sha256:bb"})


def test_importing_changes_no_filter_of_warnings() -> None:
    program = "import warnings, torch.distributed.checkpoint; before = list(warnings.filters); "
    program += "import workloads.training.checkpoint; assert warnings.filters == before"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_store_gives_up_after_its_patience_and_not_before() -> None:
    assert sum(waits(8.0)) == pytest.approx(8.0)
    assert waits(7.0) == [1.0, 2.0, 4.0, 0.0]


def test_a_file_that_is_cut_off_is_no_value(tmp_path: Path) -> None:
    store = Store(str(tmp_path), patience=0.1)
    store.write("facts.json", b'{"step": 1')
    assert store.read_json("facts.json") is None and store.read_json("none.json") is None
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unreachable, match="cannot read folder: IsADirectoryError"):
        store.read("folder")


def test_a_run_keeps_its_name_over_the_restarts_of_one_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert run_name() == run_name() != ""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "pretrain")
    assert run_name() == "pretrain"


@contextmanager
def ended(agent: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """The launcher, killed at the end where it still runs: its workers go with it."""
    with agent:
        try:
            yield agent
        finally:
            agent.kill()


def test_sigterm_to_one_of_two_workers_stops_both_after_a_checkpoint(corpus: Path, tmp_path: Path) -> None:
    log, place = tmp_path / "log", tmp_path / "place"
    given = [
        *ENDLESS,
        "--data",
        str(corpus),
        "--output",
        str(tmp_path / "model"),
        "--checkpoints",
        str(place),
    ]
    with ended(start(given, 2, log)) as agent:
        await_first_step(agent, log)
        workers = [each for each in psutil.Process(agent.pid).children() if "--checkpoints" in each.cmdline()]
        assert len(workers) == 2
        workers[1].send_signal(signal.SIGTERM)
        assert agent.wait(HANG_SECONDS) != 0
    said = log.read_text()
    assert "exitcode  : 75" in said and "exitcode  : 1" not in said.replace("exitcode  : 75", ""), said
    latest = (place / "latest").read_text()
    facts = json.loads((place / latest / "checkpoint.json").read_text())
    assert facts["world_size"] == 2 and facts["step"] >= 50
    assert not (place / "lease.json").exists() and not (tmp_path / "model").exists()
