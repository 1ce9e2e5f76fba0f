"""The comparison of launchers: it fails where the losses part, and reads them out of whatever a launcher adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.claims import Benchmark
from bench.variants import KNOWN, STEPS, judge, losses, main
from tests.repository import empty_repository

CURVE = [5.5 - 3 * step / STEPS for step in range(STEPS)]


@pytest.fixture
def bench(tmp_path: Path) -> Benchmark:
    return Benchmark("ray", root=empty_repository(tmp_path))


def altered(step: int, by: float) -> list[float]:
    return [loss + by * (number == step) for number, loss in enumerate(CURVE)]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (CURVE, 0),
        (altered(77, 0.0009), 0),
        (altered(77, 0.0011), 1),
        (altered(STEPS - 1, -0.0011), 1),
        (altered(3, float("nan")), 1),
        (CURVE[:-1], 1),
        ([], 1),
    ],
)
def test_one_step_that_differs_or_is_missing_fails(bench: Benchmark, found: list[float], code: int) -> None:
    judge(bench, "ray", CURVE, found, KNOWN["ray"])
    assert bench.finish() == code


def test_a_loss_that_does_not_fall_shows_nothing(bench: Benchmark) -> None:
    judge(bench, "ray", [5.0] * STEPS, [5.0] * STEPS, KNOWN["ray"])
    assert bench.finish() == 1


def test_losses_are_found_behind_a_launchers_own_words_and_in_the_order_of_steps() -> None:
    said = '[0]<stdout>:{"step": 2, "loss": 4.5}\nwarning\n(Worker pid=7) {"step": 1, "loss": 5.5, "x": 1}\n'
    assert losses(said) == [5.5, 4.5]


def test_an_unknown_variant_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spark"]) == 2
    assert "name one variant: horovod, ray" in capsys.readouterr().err
