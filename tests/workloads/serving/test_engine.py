"""The queue before the model: who runs, who waits, who is turned away, and what a failure takes with it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import HANG_SECONDS
from tests.workloads.serving.batches import scheduler
from tests.workloads.serving.conftest import QUICK
from workloads.serving.engine import Engine, Job, QueueFull
from workloads.serving.publish import publish
from workloads.serving.scheduler import Scheduler
from workloads.serving.terms import Options, Piece, PromptTooLong

LONG = 60_000  # tokens of the tiny model, many seconds


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Scheduler:
    return scheduler(publish(str(tiny), "none", str(tmp_path / "tiny"), QUICK), positions=2 * LONG)


class Breaking(Scheduler):
    """Breaks in the pass over a prompt that begins with 13, quoting it as library errors do."""

    def step(self) -> list[tuple[Any, Piece | Exception]]:
        if any(sequence.tokens[0] == 13 for sequence in self._running):
            raise RuntimeError("cannot take 'my secret prompt'")
        return super().step()


def breaking(model: Scheduler) -> Scheduler:
    model.__class__ = Breaking
    return model


def ask(story: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(story(), HANG_SECONDS))


async def last(job: Job) -> Piece:
    while not (piece := await job.next()).finish_reason:
        pass
    return piece


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_an_answer_that_breaks_is_raised_to_its_own_reader_and_the_next_one_works(model: Scheduler) -> None:
    async def story() -> Piece:
        engine = Engine(waiting_limit=4)
        broken, good = Job([13], Options(1)), Job([1], Options(1))
        engine.submit(broken)
        engine.submit(good)
        engine.start(breaking(model))
        with pytest.raises(RuntimeError):
            await last(broken)
        return await last(good)

    assert ask(story).tokens == 1
    assert model.cache_usage == 0


def test_the_log_of_an_answer_that_breaks_says_where_and_not_what(
    model: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        engine, job = Engine(waiting_limit=1), Job([13], Options(1))
        engine.submit(job)
        engine.start(breaking(model))
        with pytest.raises(RuntimeError):
            await job.next()

    ask(story)
    log = "".join(str(vars(record)) for record in caplog.records)  # whatever a line is made of
    assert "RuntimeError at step:" in log and "secret" not in log


def test_a_job_cancelled_while_it_waits_leaves_the_queue_and_tells_its_reader() -> None:
    async def story() -> Piece:
        engine, job = Engine(waiting_limit=1), Job([1], Options(1))
        engine.submit(job)
        engine.cancel(job)
        assert engine.waiting() == 0
        return await job.next()

    assert ask(story).finish_reason == "cancelled"


def test_beyond_slots_and_queue_a_job_is_turned_away(model: Scheduler) -> None:
    async def story() -> None:
        engine = Engine(waiting_limit=1, slots=2)
        engine.start(model)
        jobs = [Job([1, 2], Options(LONG // 2)) for _ in range(3)]
        for job in jobs:
            engine.submit(job)
        await until(lambda: engine.running() == 2)
        with pytest.raises(QueueFull):
            engine.submit(Job([1], Options(1)))
        engine.cancel(jobs[0])
        await until(lambda: engine.waiting() == 0)  # the third has taken its slot
        engine.submit(Job([1], Options(1)))
        engine.cancel_all()

    ask(story)


def test_a_running_job_that_is_cancelled_frees_its_slot_and_cache_long_before_its_end(
    model: Scheduler,
) -> None:
    async def story() -> Piece:
        engine = Engine(waiting_limit=1)
        engine.start(model)
        job = Job([1, 2], Options(LONG))
        engine.submit(job)
        await job.next()
        assert engine.running() == 1 and engine.cache_usage() > 0.4
        engine.cancel(job)
        await until(lambda: engine.running() == 0)
        assert engine.cache_usage() == 0
        return await last(job)

    end = ask(story)
    assert end.finish_reason == "cancelled" and 0 < end.tokens < LONG


def test_a_job_without_room_in_the_cache_waits_although_a_slot_is_free(model: Scheduler) -> None:
    async def story() -> None:
        engine = Engine(waiting_limit=4, slots=4)
        engine.start(model)
        jobs = [Job([token], Options(50_000)) for token in (1, 2, 3)]  # the cache holds two of them
        for job in jobs:
            engine.submit(job)
        await jobs[1].next()
        assert (engine.running(), engine.waiting()) == (2, 1)
        engine.cancel(jobs[0])
        await jobs[2].next()
        engine.cancel_all()

    ask(story)


def test_a_job_that_can_never_be_answered_is_refused_when_it_is_given(model: Scheduler) -> None:
    async def story() -> None:
        engine = Engine(waiting_limit=1)
        engine.start(model)
        with pytest.raises(PromptTooLong):
            engine.submit(Job([1], Options(70_000)))

    ask(story)


def test_the_first_piece_is_read_while_the_engine_has_made_few_tokens(model: Scheduler) -> None:
    async def story() -> None:
        engine = Engine(waiting_limit=1)
        engine.start(model)
        job = Job([1], Options(5000))
        engine.submit(job)
        await job.next()
        assert 0 < engine.counts().generated_tokens < 5000
        engine.cancel(job)

    ask(story)
