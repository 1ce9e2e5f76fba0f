"""What a run tells on its way: its lines, its log, its metrics, a bar on a terminal."""

import json
import os
import pty
import re
import socket
import subprocess
import sys
import termios
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_port
from tests.waiting import HANG_SECONDS, until
from tests.workloads.training.runs import ENDLESS, TINY, TRAIN, await_first_step, launch, start
from workloads.training.train import main


def told(text: str) -> list[dict[str, Any]]:
    """The lines of a run, between what others said."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def scraped(port: int) -> dict[str, float]:
    """Every sample that is there, by its name and its labels' values."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_SECONDS) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {" ".join([s.name, *s.labels.values()]): s.value for family in families for s in family.samples}


def test_the_log_holds_every_line_over_all_lives_of_a_run(corpus: Path, tmp_path: Path, capsys) -> None:
    log = tmp_path / "kept" / "run.jsonl"
    given = [*TINY, "--data", str(corpus), "--output", str(tmp_path / "model"), "--log", str(log)]
    given += ["--checkpoints", str(tmp_path / "places"), "--run-id", "one", "--evaluate-every", "3"]
    assert main([*given, "--stop-at", "1"]) == 75
    with open(log, "a") as cut:
        cut.write('{"step": 2, "lo')  # what a killed life may leave
    assert main(given) == 0
    said = told(capsys.readouterr().err)
    assert told(log.read_text().replace('{"step": 2, "lo\n', "")) == said
    lives = [(line["life"], line["from_step"]) for line in said if "run" in line]
    assert lives == [(1, 0), (2, 1)]
    assert [line["ended"] for line in said if "ended" in line] == ["preempted", "published"]
    assert [line["at_step"] for line in said if "evaluation" in line] == [3, 6]
    steps = [line for line in said if "step" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert all(line["mfu"] is None and line["data_wait_seconds"] > 0 for line in steps)
    assert "no peak of 'cpu'" in said[0]["no_mfu"]


def test_looking_at_the_held_out_side_on_the_way_changes_no_number(corpus: Path, tmp_path: Path) -> None:
    given = [*TINY, "--data", str(corpus)]
    assert main([*given, "--output", str(tmp_path / "one")]) == 0
    assert main([*given, "--output", str(tmp_path / "two"), "--evaluate-every", "2"]) == 0
    one, two = (json.loads((tmp_path / name / "record.json").read_text()) for name in ("one", "two"))
    assert (one["bits_per_byte"], one["train_loss"]) == (two["bits_per_byte"], two["train_loss"])


def test_a_log_that_cannot_be_opened_is_refused_before_anything_starts(
    corpus: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "file").touch()
    given = [*TINY, "--data", str(corpus), "--output", str(tmp_path / "model")]
    assert main([*given, "--log", str(tmp_path / "file" / "log")]) == 2
    assert "must be a file that can be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_log_on_a_full_disk_is_given_up_and_the_run_goes_on(corpus: Path, tmp_path: Path, capsys) -> None:
    given = [*TINY, "--data", str(corpus), "--output", str(tmp_path / "model")]
    assert main([*given, "--log", "/dev/full"]) == 0  # a device of Linux that has no room, ever
    said = told(capsys.readouterr().err)
    assert ["No space left" in line["why"] for line in said if "log" in line] == [True]
    assert len([line for line in said if "step" in line]) == 6


def test_prometheus_reads_a_running_run_on_loopback_only(corpus: Path, tmp_path: Path) -> None:
    log, port = tmp_path / "log", free_port()
    given = [*ENDLESS, "--log-every", "5", "--data", str(corpus), "--output", str(tmp_path / "model")]
    given += ["--checkpoints", str(tmp_path / "places"), "--checkpoint-every", "5", "--run-id", "watched"]
    given += ["--evaluate-every", "5", "--metrics-port", str(port)]
    prefix = "skerry_training_"
    with start(given, 1, log) as process:
        try:
            await_first_step(process, log)
            until(lambda: {'"evaluation"', '"published"'} <= set(re.findall('"[a-z]+"', log.read_text())))
            before = scraped(port)
            until(lambda: scraped(port)[f"{prefix}step"] != before[f"{prefix}step"])
            after = scraped(port)
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((outer_address(), port), timeout=HANG_SECONDS)
        finally:
            process.terminate()
    steps = {line["step"]: line for line in told(log.read_text()) if "step" in line}
    now = steps[int(after[f"{prefix}step"])]
    assert after[f"{prefix}loss"] == now["loss"]
    assert after[f"{prefix}gradient_norm"] == now["grad_norm"]
    assert after[f"{prefix}learning_rate"] == now["learning_rate"]
    assert after[f"{prefix}tokens_total"] == now["step"] * 4 * 32  # batch and context of TINY
    assert after[f"{prefix}data_wait_seconds_total"] == pytest.approx(now["data_wait_seconds"])
    assert after[f"{prefix}checkpoint_stall_seconds_total"] == pytest.approx(now["checkpoint_stall_seconds"])
    assert after[f"{prefix}checkpoints_total published"] >= 1
    assert after[f"{prefix}world_size"] == 1
    assert 0 < after[f"{prefix}bits_per_byte"] < 9
    assert f"{prefix}mfu_ratio" not in after, "no peak of a CPU is known"
    [info] = [name for name in after if name.startswith(f"{prefix}run_info")]
    assert {"watched", "cpu", "fp32"} < set(info.split())


def outer_address() -> str:
    """An address of this machine that others reach; the loopback net's other end where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.2"


def test_a_port_that_is_taken_is_refused_before_anything_starts(corpus: Path, tmp_path: Path, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = [*TINY, "--data", str(corpus), "--output", str(tmp_path / "model")]
        assert main([*given, "--metrics-port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"metrics_port={port}" in said and "give a free port, or 0" in said
    assert list(tmp_path.iterdir()) == []


def test_a_bar_is_on_a_terminal_only(corpus: Path, tmp_path: Path) -> None:
    given = [*TRAIN, *TINY, "--data", str(corpus), "--output", str(tmp_path / "model")]
    how = launch(1, tmp_path / "temporary", given)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 200))
    process = subprocess.Popen(**how, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(ours)
    assert process.wait(HANG_SECONDS) == 0, seen
    assert b"6/6 [" in seen and b'{"step": 6' in seen
    piped = subprocess.run(
        **{**how, "args": [sys.executable, *given]}, capture_output=True, text=True, check=False
    )
    assert piped.returncode == 0 and "6/6 [" not in piped.stderr
    assert [line["step"] for line in told(piped.stderr) if "step" in line] == [1, 2, 3, 4, 5, 6]
