"""A run that is killed, stopped or starved at every kind of moment loses nothing that was kept.

All lives of this module are led by one process that loads torch once, each story in a folder of its own.
"""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.training.lives import FLUSH, at_step, lived, told
from tests.workloads.training.runs import TINY

STEPS, EVERY = 60, 10
KILLS, SEED = 8, 12
DAMAGES = ("cut", "alter", "lose file", "lose facts", "alter facts")
LOST = ("lose latest", "empty latest")
Story = list[dict[str, Any]]
Event = tuple[str, int, str]  # point, occurrence, act: see lives.py


def draw(chance: random.Random) -> Event:
    """A moment to die: before some step, or somewhere in a flush."""
    if chance.random() < 0.4:
        return "step", chance.randint(2, EVERY + 5), "kill"
    return chance.choice(FLUSH[:-1]), 1, "kill"  # the last, the retention, is not reached in every flush


def kills() -> list[Event]:
    chance = random.Random(SEED)
    return [draw(chance) for _ in range(KILLS)]


LOOKING = ("--evaluate-every", "20")
SHORT = ("--steps", "30", "--keep", "1")
FULL = (("published", 1, "fill disk"), ("given up", 1, "free disk"))
STORIES: dict[str, list[tuple[tuple[Event, ...], tuple[str, ...]]]] = {
    # name: lives, each with what befalls it and further arguments
    "calm": [((), ())],
    "killed often": [*(((kill,), ()) for kill in kills()), ((), ())],
    **{
        f"killed at {point}": [(((point, 1 if point == "retention" else 2, "kill"),), SHORT), ((), SHORT)]
        for point in FLUSH
    },
    "stopped": [((("step", 14, "terminate"),), ()), ((), ())],
    "stopped in a flush": [((("files", 1, "terminate"),), ()), ((), ())],
    "stopped at the start": [((("start", 1, "terminate"),), ()), ((), ())],
    "stopped in evaluation": [((("evaluation", 1, "terminate"),), ()), ((), ())],
    "stopped in evaluation on the way": [((("evaluation", 1, "terminate"),), LOOKING), ((), LOOKING)],
    "stopped behind the last question": [((("asked", STEPS + 1, "terminate"),), ()), ((), ())],
    "out of time": [((), ("--stop-at", "1.5")), ((), ())],
    **{f"damaged: {damage}": [((), ()), ((("start", 1, damage),), ())] for damage in DAMAGES},
    **{f"gone on after: {act}": [((), ()), ((("start", 1, act),), ("--steps", "70"))] for act in LOST},
    "damaged, and none before it": [
        ((), SHORT),
        ((("start", 1, "alter"), ("step", 21, "kill")), SHORT),
        ((), SHORT),
    ],
    "full disk": [(FULL, ()), ((), ())],
    "full disk, then killed": [((FULL[0], ("step", 32, "kill")), ()), ((), ())],
    "lost store": [((("step", 12, "lose store"),), ("--checkpoint-every", "30")), ((), ())],
    "bad numbers": [((("copied", 2, "kill"),), ()), ((), ("--learning-rate", "1e38")), ((), ())],
    "bad numbers in a flush": [
        ((("copied", 1, "dawdle"),), ("--checkpoint-every", "1", "--learning-rate", "1e38"))
    ],
    "another run": [((("copied", 2, "kill"),), ()), ((), ("--run-id", "two")), ((), ())],
    "fewer steps": [((), ()), ((), ("--steps", "20"))],
    "another seed": [((("copied", 2, "kill"),), ()), ((), ("--seed", "9"))],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stories")


@pytest.fixture(scope="module")
def stories(corpus: Path, folder: Path) -> dict[str, Story]:
    """The results of every story's lives."""
    lives, keys = [], ("point", "occurrence", "act")
    for name, story in STORIES.items():
        for events, more in story:
            given = ["--data", str(corpus), "--steps", str(STEPS), "--checkpoint-every", str(EVERY)]
            given += [
                "--checkpoints",
                str(folder / name / "checkpoints"),
                "--output",
                str(folder / name / "model"),
            ]
            given += ["--fallback", str(folder / name / "fallback")] if name == "lost store" else []
            given += ["--run-id", "one", "--store-patience", "0.3"]
            befalls = [dict(zip(keys, event, strict=True)) for event in events]
            lives.append({"arguments": [*TINY, *given, *more], "events": befalls})
    results = iter(lived(*lives))
    return {name: [next(results) for _ in story] for name, story in STORIES.items()}


def weights(folder: Path, name: str) -> bytes:
    return (folder / name / "model" / "model.safetensors").read_bytes()


def first_step(result: dict[str, Any]) -> int:
    return next((line["step"] for line in told(result) if "step" in line), 0)


def test_after_kills_at_many_moments_the_weights_are_those_of_an_undisturbed_run(
    stories: dict[str, Story], folder: Path
) -> None:
    assert len([point for point, _, _ in kills() if point in FLUSH]) >= 4
    disturbed = stories["killed often"]
    assert [result["code"] for result in disturbed] == [-9] * KILLS + [0], (kills(), disturbed)
    for before, after in itertools.pairwise(disturbed):
        # Killed between a checkpoint's facts and the first `latest`, a run takes it up all the same: it is whole.
        expected = at_step(before["latest"] or before["newest"]) + 1
        assert first_step(after) == (expected if expected <= STEPS else 0), (before, after)
    assert weights(folder, "killed often") == weights(folder, "calm")


@pytest.mark.parametrize("point", FLUSH)
def test_latest_names_a_whole_checkpoint_wherever_in_a_flush_a_run_is_killed(
    stories: dict[str, Story], folder: Path, point: str
) -> None:
    killed, after = stories[f"killed at {point}"]
    kept = 20 if point in ("published", "retention") else 10
    assert (killed["code"], killed["latest"]) == (-9, f"step-{kept:08d}"), killed
    assert (after["code"], first_step(after)) == (0, kept + 1), after
    assert "not loaded" not in after["said"]
    left = sorted(path.name for path in (folder / f"killed at {point}" / "checkpoints").iterdir())
    assert left == ["latest", "step-00000030"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("stopped", 14),
        ("stopped in a flush", None),
        ("stopped in evaluation", 60),
        ("stopped in evaluation on the way", 21),
        ("stopped behind the last question", 60),
        ("out of time", 1),
    ],
)
def test_a_run_that_is_asked_to_stop_keeps_its_steps_and_exits_with_75(
    stories: dict[str, Story], folder: Path, name: str, kept: int | None
) -> None:
    stopped, after = stories[name]
    assert stopped["code"] == 75, stopped
    steps = max(line["step"] for line in told(stopped) if "step" in line)
    assert at_step(stopped["latest"]) == steps
    assert kept in (None, steps)
    assert (after["code"], first_step(after)) == (0, steps + 1 if steps < STEPS else 0), after
    assert weights(folder, name) == weights(folder, "calm")


def test_a_run_that_goes_on_with_no_step_left_publishes_the_numbers_of_the_life_before(
    stories: dict[str, Story], folder: Path
) -> None:
    calm, gone_on = (
        json.loads((folder / name / "model" / "record.json").read_text(), parse_constant=refuse)
        for name in ("calm", "stopped in evaluation")
    )
    assert stories["stopped in evaluation"][1]["code"] == 0
    assert (gone_on["train_loss"], gone_on["lives"]) == (calm["train_loss"], 2)
    assert gone_on["tokens_per_second"] > 0


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def test_a_run_that_is_stopped_before_its_first_step_leaves_nothing(
    stories: dict[str, Story], folder: Path
) -> None:
    stopped, after = stories["stopped at the start"]
    assert (stopped["code"], stopped["latest"]) == (143, ""), stopped
    assert (after["code"], first_step(after)) == (0, 1), after


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_it_says_so(
    stories: dict[str, Story], folder: Path, damage: str
) -> None:
    _, after = stories[f"damaged: {damage}"]
    [refused] = [line for line in told(after) if line.get("checkpoint") == "not loaded"]
    assert refused["place"].endswith("step-00000060")
    assert {
        "lose file": ".metadata is missing or altered",
        "lose facts": "checkpoint.json is missing or altered",
        "alter facts": "checkpoint.json is missing or altered",
    }.get(damage, "__0_0.distcp is missing or altered") == refused["why"]
    assert (after["code"], first_step(after)) == (0, 51), after
    assert weights(folder, f"damaged: {damage}") == weights(folder, "calm")


@pytest.mark.parametrize("act", LOST)
def test_a_run_whose_latest_is_lost_goes_on_from_the_newest_whole_checkpoint_and_says_so(
    stories: dict[str, Story], folder: Path, act: str
) -> None:
    _, after = stories[f"gone on after: {act}"]
    assert (after["code"], after["latest"], first_step(after)) == (0, "step-00000070", 61), after
    assert "latest is missing or unreadable" in after["said"]
    record = json.loads((folder / f"gone on after: {act}/model/record.json").read_text())
    assert record["tokens"] == 70 * 4 * 32  # TINY's batch and context


def test_a_run_of_fewer_steps_than_were_taken_is_refused_and_keeps_its_checkpoints(
    stories: dict[str, Story], folder: Path
) -> None:
    _, fewer = stories["fewer steps"]
    assert fewer["code"] == 2 and "steps=20: the last checkpoint is of step 60" in fewer["said"]
    assert fewer["latest"] == "step-00000060"


def test_a_run_that_starts_over_keeps_its_new_checkpoints_and_not_the_damaged_one_above_them(
    stories: dict[str, Story], folder: Path
) -> None:
    _, over, after = stories["damaged, and none before it"]
    assert (over["code"], first_step(over)) == (-9, 1), over
    assert at_step(over["latest"]) in (10, 20)  # the second may still be in the writing
    assert (after["code"], first_step(after)) == (0, at_step(over["latest"]) + 1), after
    assert "not loaded" not in after["said"]


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(stories: dict[str, Story], folder: Path) -> None:
    starved, _ = stories["full disk"]
    assert (starved["code"], starved["latest"]) == (0, "step-00000060"), starved
    [failed] = [line for line in told(starved) if line.get("checkpoint") == "failed"]
    assert "step 20 could not be kept" in failed["why"] and "File too large" in failed["why"]
    published = [line["at_step"] for line in told(starved) if line.get("checkpoint") == "published"]
    assert published == [10, 30, 40, 50, 60]
    assert weights(folder, "full disk") == weights(folder, "calm")


def test_after_a_full_disk_the_last_good_checkpoint_is_loaded(
    stories: dict[str, Story], folder: Path
) -> None:
    killed, after = stories["full disk, then killed"]
    assert (killed["code"], killed["latest"]) == (-9, "step-00000010"), killed
    assert (after["code"], first_step(after)) == (0, 11), after
    assert weights(folder, "full disk, then killed") == weights(folder, "calm")


def test_an_unreachable_store_is_tried_a_bounded_number_of_times_and_then_the_fallback_is_used(
    stories: dict[str, Story], folder: Path
) -> None:
    lost, after = stories["lost store"]
    assert lost["code"] == 0, lost
    refused = [line["place"] for line in told(lost) if line.get("checkpoint") == "refused by its place"]
    published = [
        (line["at_step"], line["place"]) for line in told(lost) if line.get("checkpoint") == "published"
    ]
    assert len(refused) == 2
    assert published == [(step, str(folder / "lost store" / "fallback")) for step in (30, 60)]
    assert after["code"] == 1
    assert "checkpoints: cannot " in after["said"] and "Traceback" not in after["said"]


def test_a_loss_that_is_no_number_names_its_step_and_keeps_the_last_good_checkpoint(
    stories: dict[str, Story], folder: Path
) -> None:
    _, bad, after = stories["bad numbers"]
    assert bad["code"] == 1
    assert (
        "step 12: the loss or its gradient is no number" in bad["said"]
        and "the last checkpoint is from before" in bad["said"]
    )
    assert bad["latest"] == "step-00000010"
    assert (after["code"], first_step(after)) == (0, 11), after
    assert weights(folder, "bad numbers") == weights(folder, "calm")


def test_a_loss_that_is_no_number_ends_the_run_in_words_when_the_checkpoint_in_flight_is_kept(
    stories: dict[str, Story], folder: Path
) -> None:
    [bad] = stories["bad numbers in a flush"]
    assert (bad["code"], bad["latest"]) == (1, "step-00000001"), bad
    assert "\nworkloads.training.train: step 2: the loss or its gradient is no number" in bad["said"]
    left = (folder / "bad numbers in a flush" / "checkpoints").iterdir()
    assert sorted(path.name for path in left) == ["latest", "step-00000001"]


def test_another_run_is_refused_while_the_lease_holds_and_the_same_run_takes_over(
    stories: dict[str, Story],
) -> None:
    _, other, same = stories["another run"]
    assert other["code"] == 2
    assert "run 'one' works here" in other["said"] and "give --run-id one" in other["said"]
    assert (same["code"], first_step(same)) == (0, 11), same


def test_a_checkpoint_of_other_settings_is_refused_by_name(stories: dict[str, Story]) -> None:
    _, other = stories["another seed"]
    assert other["code"] == 2
    assert "has seed=0 and this run 9; take another place" in other["said"]
