"""The benchmark of serving, as far as that can be seen without running it: what it counts, claims and calls missed."""

from pathlib import Path
from typing import Any

import pytest

from bench.claims import Benchmark
from bench.serving import fuzz, overload, starting, table
from bench.serving.inputs import make_inputs
from bench.serving.load import BROKEN, BUSY, LOST, WHOLE, Asked
from tests.repository import empty_repository
from tests.workloads.serving.conftest import byte_tokenizer

MIB = 2**20


@pytest.fixture
def bench(tmp_path: Path) -> Benchmark:
    return Benchmark("serving", root=empty_repository(tmp_path))


def sample(single: float, eight: float, pss: int = 100) -> dict[str, Any]:
    """A contender of so many tokens per second, for one client and eight."""
    loads = [
        {"clients": clients, "seconds": 2.0, "tokens": 2 * rate, "first": [0.1] * clients}
        for clients, rate in ((1, single), (8, eight))
    ]
    return {"loads": loads, "memory": {"pss": pss * MIB, "rss": 2 * pss * MIB}, "bits": 900.0}


def contenders(ours: dict[str, Any], llamacpp: float = 100) -> dict[str, dict[str, Any]]:
    return {
        table.FP32: sample(20, 90),
        table.BF16: sample(39, 100),
        table.OURS.format(table.CHOSEN): ours,
        table.LLAMACPP: sample(llamacpp, 300),
    }


def verdicts(bench: Benchmark) -> list[str]:
    return [row.verdict for row in bench.rows if row.verdict]


@pytest.mark.parametrize(
    ("single", "eight", "expected"),
    [
        (100, 200, ["PASS", "PASS", "PASS", "MET", "MET"]),
        (39.9, 200, ["FAIL", "PASS", "PASS", "MISSED", "MISSED"]),
        (39, 200, ["FAIL", "FAIL", "PASS", "MISSED", "MISSED"]),
        (61, 121, ["PASS", "PASS", "FAIL", "MET", "MISSED"]),
        (59, 200, ["PASS", "PASS", "PASS", "MISSED", "MISSED"]),
    ],
)
def test_speeds_are_held_against_those_of_the_same_run(
    bench: Benchmark, single: float, eight: float, expected: list[str]
) -> None:
    table.rows(bench, contenders(sample(single, eight)), 1000)
    assert verdicts(bench) == expected
    assert table.missed(bench) == ("MISSED" in expected)
    (row,) = [row for row in bench.rows if row.name == "transformers, fp32: 8 clients"]
    assert row.figure.startswith("90 tokens/s; first token after 100 ms (p50)")
    assert sum("0.9000 bits per byte" in row.figure for row in bench.rows) == 4


@pytest.mark.parametrize(
    ("stored", "pss", "expected"), [(40, 160, "PASS PASS"), (41, 160, "FAIL PASS"), (40, 171, "PASS FAIL")]
)
def test_an_artifact_is_small_and_the_memory_of_its_server_falls_with_it(
    bench: Benchmark, stored: int, pss: int, expected: str
) -> None:
    sizes = {"none": 100, "int8-weight-only": stored, "int8-dynamic": 40, "int4-weight-only": 30}
    samples = {table.OURS.format(scheme): sample(1, 1, 160) for scheme in sizes}
    samples[table.OURS.format("none")] = sample(1, 1, 200)
    samples[table.OURS.format("int8-weight-only")] = sample(1, 1, pss)
    table.memory_falls(bench, samples, {name: size * MIB for name, size in sizes.items()}, 100 * MIB)
    assert " ".join(verdicts(bench)[:2]) == expected
    assert verdicts(bench)[2:] == ["PASS"] * 4


@pytest.mark.parametrize(("rise", "verdict"), [(1.0099, "PASS"), (1.0101, "FAIL")])
def test_int8_may_cost_less_than_one_per_cent_and_the_others_are_told(
    bench: Benchmark, rise: float, verdict: str
) -> None:
    table.quality(
        bench, "it", {"none": 1.0, "int8-weight-only": rise, "int8-dynamic": rise, "int4-weight-only": 1.2}
    )
    assert verdicts(bench) == [verdict, verdict]
    assert bench.rows[-1].figure == "+20.00% bits per byte"


def ends(**counts: int) -> dict[str, Any]:
    return {"code": 0, "ends": {WHOLE: 9, **counts}}


@pytest.mark.parametrize(
    ("status", "goodput", "drain", "expected"),
    [
        (429, 90.0, {BUSY: 5}, "PASS PASS PASS"),
        (200, 90.0, {BUSY: 5}, "FAIL PASS PASS"),
        (429, 89.0, {BUSY: 5}, "PASS FAIL PASS"),
        (429, 90.0, {BROKEN: 1}, "PASS PASS FAIL"),
        (429, 90.0, {LOST: 1}, "PASS PASS FAIL"),
    ],
)
def test_under_too_much_a_server_sheds_load_and_a_drain_loses_nothing(
    bench: Benchmark, status: int, goodput: float, drain: dict[str, int], expected: str
) -> None:
    filled = {"running": 8.0, "status": status, "retry_after": "1"}
    loads = [{"ends": {WHOLE: 3}, "goodput": rate, "first": [0.1]} for rate in (100.0, goodput)]
    overload.rows(bench, filled, {"rate": 5.0, "1": loads[0], "10": loads[1]}, [ends(), ends(**drain)])
    assert " ".join(verdicts(bench)) == expected


def test_goodput_counts_only_whole_answers() -> None:
    told = overload.told(
        [Asked(0, 1, 4, 60, 200, WHOLE), Asked(0, 1, 2, 40, 200, BROKEN), Asked(1, 1, 1, 0, 429, BUSY)]
    )
    assert told["goodput"] == 15 and told["first"] == [1]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"fault": "500: no", "statuses": {}}, "FAIL"),
        ({"fault": "", "statuses": {"200": 9}, "grown": 5, "allowed": 4, "same": True}, "PASS FAIL PASS"),
        ({"fault": "", "statuses": {"200": 9}, "grown": 4, "allowed": 4, "same": False}, "PASS PASS FAIL"),
    ],
)
def test_a_5xx_growing_memory_and_another_answer_fail(
    bench: Benchmark, found: dict[str, Any], expected: str
) -> None:
    fuzz.rows(bench, found)
    assert " ".join(verdicts(bench)) == expected


def test_a_start_is_judged_by_its_median(bench: Benchmark) -> None:
    starting.rows(bench, {"ready": [30.0, 9.0, 10.1], "torch": [5.0, 4.0, 6.0]})
    assert verdicts(bench) == ["MISSED"] and "only imports torch takes 5.0 s" in bench.rows[0].figure


def test_no_two_prompts_are_alike_and_all_scored_bytes_are_counted_once() -> None:
    given = make_inputs(byte_tokenizer(), 3000, {1: 2, 3: 2}, window=100)
    assert len({tuple(prompt) for prompt in given.prompts}) == len(given.prompts) == 10
    assert {len(prompt) for prompt in given.prompts} == {64}
    assert given.bytes == sum(len(window) - 1 for window in given.windows) >= 2900
