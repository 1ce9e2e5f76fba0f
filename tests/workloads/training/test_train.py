import ast
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.waiting import HANG_SECONDS, until
from tests.workloads.training.runs import (
    ENDLESS,
    ROOT,
    TINY,
    TRAIN,
    await_first_step,
    launch,
    lines,
    start,
)
from workloads.manifest import manifest_digest, verify_manifest
from workloads.training.config import TrainConfig
from workloads.training.optimizer import learning_rate
from workloads.training.train import main


def run(
    corpus: Path, output: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[list[dict], dict]:
    """One run in this process: its progress lines and its final record."""
    assert main([*TINY, "--data", str(corpus), "--output", str(output), *more]) == 0
    captured = capsys.readouterr()
    [record] = lines(captured.out)
    return lines(captured.err), record


def test_the_published_record_is_what_the_run_said(corpus: Path, tmp_path: Path, capsys) -> None:
    progress, said = run(corpus, tmp_path / "model", capsys, "--log-every", "4")
    record = json.loads((tmp_path / "model" / "record.json").read_text())
    assert said == {
        "output": (tmp_path / "model").as_uri(),
        "manifest_digest": manifest_digest(tmp_path / "model"),
        **record,
    }
    assert [line["step"] for line in progress] == [4, 6]
    assert record["train_loss"] == progress[-1]["loss"]
    assert (record["steps"], record["seed"], record["world_size"], record["precision"]) == (6, 0, 1, "fp32")
    assert 0 < record["heldout_bytes"] <= record["heldout_bytes_available"]
    manifest = verify_manifest(tmp_path / "model")
    assert manifest["data_digest"] == record["data_digest"]
    assert manifest["metrics"] == {name: record[name] for name in manifest["metrics"]}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def numbers(progress: list[dict], record: dict) -> list[float]:
    return [value for line in progress for value in (line["loss"], line["grad_norm"])] + [
        record["bits_per_byte"]
    ]


def test_a_seed_fixes_every_number_and_another_seed_changes_them(
    corpus: Path, tmp_path: Path, capsys
) -> None:
    first, again, other = (
        numbers(*run(corpus, tmp_path / name, capsys, "--seed", seed))
        for name, seed in (("a", "5"), ("b", "5"), ("c", "6"))
    )
    assert first == again
    assert all(one != another for one, another in zip(first, other, strict=True))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_two_workers_learn_the_same_as_one_from_the_same_global_batch(
    corpus: Path, tmp_path: Path, capsys
) -> None:
    given = [*TINY, "--accumulate", "2", "--data", str(corpus), "--output", (tmp_path / "two").as_uri()]
    how = launch(2, tmp_path / "temporary", [*TRAIN, *given])
    done = subprocess.run(**how, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [record] = lines(done.stdout)
    assert record["world_size"] == 2
    assert len(lines(done.stderr)) == 6, done.stderr
    two = numbers(lines(done.stderr), record)
    one = numbers(*run(corpus, tmp_path / "one", capsys))
    other = numbers(*run(corpus, tmp_path / "other", capsys, "--seed", "1"))
    assert two == pytest.approx(one, rel=1e-4)
    assert not any(a == pytest.approx(b, rel=1e-4) for a, b in zip(two, other, strict=True))
    assert (
        record["heldout_bytes"] == json.loads((tmp_path / "one" / "record.json").read_text())["heldout_bytes"]
    )


def test_training_lowers_the_held_out_bits_in_either_precision(corpus: Path, tmp_path: Path, capsys) -> None:
    _, start = run(corpus, tmp_path / "model", capsys, "--steps", "1", "--learning-rate", "1e-9")
    assert start["bits_per_byte"] == pytest.approx(math.log2(257), abs=0.1)
    for precision in ("fp32", "bf16"):
        _, end = run(corpus, tmp_path / "model", capsys, "--steps", "60", "--precision", precision)
        assert end["bits_per_byte"] < start["bits_per_byte"] - 2


def test_the_learning_rate_climbs_to_the_peak_and_falls_to_its_final_share() -> None:
    config = TrainConfig(steps=100, warmup=10, learning_rate=1.0, final_fraction=0.1)
    rates = [learning_rate(config, step) for step in range(1, 101)]
    assert rates[0] == 0.1 and rates[9] == 1.0 == max(rates) and rates[-1] == pytest.approx(0.1)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_a_loss_that_is_no_number_ends_the_run_and_publishes_nothing(
    corpus: Path, tmp_path: Path, capsys
) -> None:
    given = [*TINY, "--data", str(corpus), "--output", str(tmp_path / "model"), "--learning-rate", "1e38"]
    assert main(given) == 1
    words = "step 2: the loss or its gradient is no number; lower learning_rate=1e+38"
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_ends_every_process_and_leaves_no_output(corpus: Path, tmp_path: Path, workers: int) -> None:
    (tmp_path / "out").mkdir()
    log = tmp_path / "log"
    process = start(
        [*ENDLESS, "--data", str(corpus), "--output", str(tmp_path / "out" / "model")], workers, log
    )
    with process:
        await_first_step(process, log)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= (workers if workers > 1 else 0)
        process.terminate()
        code = process.wait(HANG_SECONDS)
        _, alive = psutil.wait_procs(family, timeout=HANG_SECONDS)
    assert code == 143 if workers == 1 else code != 0
    assert alive == []
    assert "stopped by SIGTERM" in log.read_text()
    assert list((tmp_path / "out").iterdir()) == []


@contextmanager
def alone(rank: int, arguments: list[str], log: Path) -> Iterator[subprocess.Popen]:
    """The worker `rank` of two, as soon as it is at the meeting to which the other one does not come."""
    with ExitStack() as closing:
        listener = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = listener.getsockname()
        if rank == 0:
            listener.close()  # it listens itself
        where = {"MASTER_ADDR": address[0], "MASTER_PORT": str(address[1]), "WORLD_SIZE": "2"}
        how = launch(1, log.with_suffix(".temporary"), [*TRAIN, *arguments])
        how["env"] |= {**where, "RANK": str(rank), "LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
        with open(log, "wb") as out:
            process = closing.enter_context(subprocess.Popen(**how, stderr=out))
        closing.callback(process.kill)
        if rank == 1:
            listener.settimeout(HANG_SECONDS)
            closing.enter_context(listener.accept()[0])

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with suppress(OSError):
                socket.create_connection(address).close()
                return True
            return False

        if rank == 0:
            until(listens, log.read_text)
        yield process


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_waits_for_another_one_heeds_sigterm(rank: int, corpus: Path, tmp_path: Path) -> None:
    given = ["--data", str(corpus), "--output", str(tmp_path / "model")]
    with alone(rank, [*TINY, *given], tmp_path / "log") as process:
        process.terminate()
        assert process.wait(HANG_SECONDS) == 143  # by itself it would wait for 300 seconds


def test_a_worker_waits_for_another_one_as_long_as_it_is_told(corpus: Path, tmp_path: Path) -> None:
    given = ["--data", str(corpus), "--output", str(tmp_path / "model"), "--peer-patience", "1"]
    with alone(0, [*TINY, *given], tmp_path / "log") as process:
        assert process.wait(HANG_SECONDS) == 1  # it would be 300 seconds


def test_a_killed_launcher_takes_its_workers_with_it(corpus: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    agent = start([*ENDLESS, "--data", str(corpus), "--output", str(tmp_path / "model")], 2, log)
    family: list[psutil.Process] = []
    try:
        with agent:
            await_first_step(agent, log)
            family = psutil.Process(agent.pid).children(recursive=True)
            assert len([each for each in family if "workloads.training.train" in each.cmdline()]) == 2
            agent.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=HANG_SECONDS)
        assert alive == []
    finally:
        for each in family:
            if each.is_running():
                each.kill()


def test_two_workers_started_as_the_product_does_listen_on_loopback_only(
    corpus: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with start([*ENDLESS, "--data", str(corpus), "--output", str(tmp_path / "model")], 2, log) as agent:
        try:
            await_first_step(agent, log)
            family = [psutil.Process(agent.pid), *psutil.Process(agent.pid).children(recursive=True)]
            sockets = [each for process in family for each in process.net_connections("inet")]
        finally:
            agent.terminate()
    listening = [each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN]
    assert len(family) == 3
    assert listening, "the workers have to meet somewhere: these are not the sockets of a run"
    assert set(listening) <= {"127.0.0.1", "::1"}


ENDS_ITSELF = """
import atexit, pathlib, runpy, sys
atexit.register(pathlib.Path(sys.argv.pop(1)).touch)
sys.setswitchinterval(10)  # gloo's thread waits for the interpreter: without care it is still waiting at the end
runpy.run_module("workloads.training.train", run_name="__main__")
"""


def test_no_worker_goes_through_the_shutdown_in_which_gloo_aborts(corpus: Path, tmp_path: Path) -> None:
    program, shutdown = tmp_path / "program.py", tmp_path / "shutdown"
    program.write_text(ENDS_ITSELF)
    given = [str(program), str(shutdown), *TINY, "--data", str(corpus), "--output", str(tmp_path / "model")]
    how = launch(2, tmp_path / "temporary", given)
    how["env"]["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(**how, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model").exists() and not shutdown.exists()


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("return 2", 2, ""),
        ("raise SystemExit(143)", 143, ""),
        ("raise SystemExit", 0, ""),
        ("raise ValueError('broken')", 1, "ValueError: broken"),
    ],
)
def test_the_process_ends_with_the_code_and_the_words_of_its_work(end: str, code: int, said: str) -> None:
    program = f"def main(given):\n    print(*given)\n    {end}\n"
    program += "from workloads.training.workers import end_process\nend_process(main, ['whole', 'line'])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "whole line\n")
    assert said in done.stderr and bool(said) == bool(done.stderr)


def test_the_workload_imports_nothing_from_the_infrastructure_side() -> None:
    for path in (ROOT / "workloads").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"components", "pulumi"}, path


def test_importing_the_entry_starts_and_prints_nothing(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import workloads.training.train"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (0, "", [])


def test_the_code_that_a_record_names_is_also_the_shared_modules_and_an_images_commit_is_its_own(
    tmp_path: Path,
) -> None:
    shutil.copytree(ROOT / "workloads", tmp_path / "workloads", ignore=shutil.ignore_patterns("__pycache__"))
    ask = "from workloads.training import source; print(source.source_digest(), source.commit())"
    command = [sys.executable, "-c", ask]
    told = []
    for change in ("", "# changed\n"):
        with open(tmp_path / "workloads" / "held_out.py", "a") as shared:
            shared.write(change)
        environment = {**os.environ, "SKERRY_REVISION": "abc", "GIT_CEILING_DIRECTORIES": str(tmp_path)}
        told.append(subprocess.check_output(command, cwd=tmp_path, env=environment, text=True).split())
    assert told[0][0] != told[1][0]
    assert [commit for _, commit in told] == ["abc", "abc"]
