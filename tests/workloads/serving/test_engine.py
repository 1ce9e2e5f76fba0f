"""The queue before the model: an answer that breaks takes neither the next one nor its text into the log."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest

from workloads.serving.engine import Engine, Job
from workloads.serving.terms import Options, Piece


class Fragile:
    """Breaks on prompt [13], quoting it as library errors do."""

    def generate(
        self, prompt: Sequence[int], options: Options, cancelled: Callable[[], bool]
    ) -> Iterator[Piece]:
        if list(prompt) == [13]:
            raise RuntimeError("cannot take 'my secret prompt'")
        yield Piece("fine", 1, "stop")


def test_an_answer_that_breaks_is_raised_to_its_own_reader_and_the_next_one_works() -> None:
    async def ask() -> Piece:
        engine = Engine(waiting_limit=4)
        broken, good = Job([13], Options(1)), Job([1], Options(1))
        engine.submit(broken)
        engine.submit(good)
        engine.start(Fragile())
        with pytest.raises(RuntimeError):
            await broken.next()
        return await good.next()

    assert asyncio.run(ask()).text == "fine"


def test_the_log_of_an_answer_that_breaks_says_where_and_not_what(capfd: pytest.CaptureFixture[str]) -> None:
    async def ask() -> None:
        engine, job = Engine(waiting_limit=1), Job([13], Options(1))
        engine.submit(job)
        engine.start(Fragile())
        with pytest.raises(RuntimeError):
            await job.next()

    asyncio.run(ask())
    log = capfd.readouterr().err
    assert "RuntimeError at generate:" in log and "secret" not in log


def test_a_job_cancelled_while_it_waits_leaves_the_queue_and_tells_its_reader() -> None:
    async def ask() -> Piece:
        engine, job = Engine(waiting_limit=1), Job([1], Options(1))
        engine.submit(job)
        engine.cancel(job)
        assert engine.waiting() == 0
        return await job.next()

    assert asyncio.run(ask()).finish_reason == "cancelled"
