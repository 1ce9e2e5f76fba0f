"""The picture of a run, and the card of what it made."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from matplotlib.image import imread

from tests.workloads.training.runs import kept
from workloads.training import report
from workloads.training.train import main

RUN = {
    "run": "r",
    "data_digest": "sha256:ab",
    "parameters": 7,
    "of_steps": 9,
    "world_size": 1,
    "device": "cpu",
}
RUN |= {"precision": "fp32", "life": 1, "from_step": 0}


def written(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


@pytest.fixture(scope="module")
def ran(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two lives; its folder holds the log, the checkpoints and the model."""
    folder = tmp_path_factory.mktemp("ran")
    given = [*kept(corpus, folder), "--run-id", "drawn", "--evaluate-every", "3"]
    assert main([*given, "--stop-at", "1"]) == 75
    assert main(given) == 0
    return folder


@pytest.mark.parametrize("source", ["", "run.jsonl"])
def test_a_run_is_drawn_with_its_name_data_units_and_restart(ran: Path, tmp_path: Path, source: str) -> None:
    assert report.main([str(ran / source), "--output", str(tmp_path / "run.png")]) == 0
    height, width, _ = imread(tmp_path / "run.png").shape
    assert width > height > 800
    figures = []
    for name in ("one.svg", "two.svg"):
        assert report.main([str(ran / source), "--output", str(tmp_path / name)]) == 0
        figures.append((tmp_path / name).read_text())
    assert figures[0] == figures[1], "the same run gives the same file"
    ElementTree.fromstring(figures[0])
    for words in (
        "run drawn: ",
        "lives: 2",
        "data sha256:",
        "nats per token",
        "tokens per second",
        "went on",
    ):
        assert f"<!-- {words}" in figures[0] or words in figures[0], words


def test_steps_that_were_taken_again_are_told_from_those_that_count(tmp_path: Path) -> None:
    log = written(
        tmp_path / "log",
        "torchrun's own words",
        RUN,
        *({"step": step, "loss": 10.0 + step} for step in (1, 2, 3)),
        '{"step": 4, "lo',
        {**RUN, "life": 2, "from_step": 1},
        *({"step": step, "loss": 20.0 + step} for step in (2, 3, 4)),
    )
    steps, losses, again, lost = report.series(report.read_lives(log), "loss")
    assert (steps, losses) == ([1, 2, 3, 4], [11.0, 22.0, 23.0, 24.0])
    assert (again, lost) == ([2, 3], [12.0, 13.0])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ("", "holds no step"),
        ("hello\n[1]\n", "holds no step"),
        (json.dumps(RUN), "no step"),
        ('{"run": "of another program"}\n{"step": 1}', "no step"),
    ],
)
def test_what_is_no_run_is_refused_with_a_remedy_and_leaves_no_picture(
    tmp_path: Path, capsys, content: str | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "log").write_text(content)
    assert report.main([str(tmp_path / "log"), "--output", str(tmp_path / "run.svg")]) == 2
    said = capsys.readouterr().err
    assert why in said and "give the file that the run had as --log" in said
    assert not (tmp_path / "run.svg").exists()


def test_the_card_is_one_that_the_hub_reads_and_tells_what_the_record_does(ran: Path) -> None:
    record = json.loads((ran / "model" / "record.json").read_text())
    card = ModelCard.load(ran / "model" / "README.md")
    front: Any = card.data
    assert (front.library_name, front.pipeline_tag) == ("transformers", "text-generation")
    [result] = front.eval_results
    assert (result.metric_type, result.metric_value) == ("bits_per_byte", record["bits_per_byte"])
    for words in (record["data_digest"], record["code_digest"], record["commit"] or "code", '"seed": 0'):
        assert words in card.text
    assert "No accelerator hours: it ran on CPUs" in card.text
    assert str(ran) not in card.text, "a card tells of a model, not of a machine"


def test_the_cost_is_counted_over_all_lives_and_all_devices(ran: Path) -> None:
    record = json.loads((ran / "model" / "record.json").read_text())
    [facts] = (ran / "places").glob("step-00000006/checkpoint.json")
    kept = json.loads(facts.read_text())
    assert (record["lives"], kept["lives"]) == (2, 2)
    assert record["device_hours"] * 3600 > record["seconds"], "the first life counts too"
    assert record["device_hours"] * 3600 >= kept["device_seconds"]
