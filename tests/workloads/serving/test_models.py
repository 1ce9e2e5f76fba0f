"""Several models in one process: each with its own name, queue and figures, behind one door."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.workloads.serving.conftest import QUICK, byte_tokenizer
from tests.workloads.serving.serving import Running, until
from workloads.serving.app import create_app
from workloads.serving.auth import Door
from workloads.serving.engine import Engine
from workloads.serving.limits import Limits
from workloads.serving.metrics import Metrics
from workloads.serving.models import Models
from workloads.serving.publish import publish
from workloads.serving.state import Loaded, State

LONG = 60_000  # tokens: many seconds of the tiny model


def flags(**models: dict[str, Any]) -> list[str]:
    """The command line that serves each artifact under its name."""
    return [
        word
        for name, made in models.items()
        for word in ("--model", f"{name}={made['uri']}@{made['digest']}")
    ]


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Start servers of several models; all are stopped at the end of the test."""
    started: list[Running] = []

    def one(*more: str, **models: dict[str, Any]) -> Running:
        started.append(Running("", "", [*flags(**models), *more], {}))
        return started[-1]

    yield one
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def three(tiny_int8: dict[str, Any], tiny_chat: dict[str, Any], minilm: dict[str, Any]) -> Iterator[Running]:
    """Two decoders and an encoder in one process."""
    server = Running("", "", flags(coder=tiny_int8, chat=tiny_chat, minilm=minilm), {})
    try:
        yield server.wait_ready()
    finally:
        server.kill()


def test_all_models_are_listed_and_each_answers_under_its_name_as_it_does_alone(
    three: Running, tiny_int8: dict[str, Any], tiny_chat: dict[str, Any], minilm: dict[str, Any]
) -> None:
    listed = three.client.get("/v1/models").json()["data"]
    made = {"coder": tiny_int8, "chat": tiny_chat, "minilm": minilm}
    assert {card["id"]: card["digest"] for card in listed} == {
        name: one["digest"] for name, one in made.items()
    }
    for name in ("coder", "chat"):
        alone = Running(made[name]["uri"], made[name]["digest"], [], {})
        try:
            expected = alone.wait_ready().complete(max_tokens=20).json()["choices"]
        finally:
            alone.kill()
        answer = three.complete(max_tokens=20, model=name)
        assert answer.json()["choices"] == expected and answer.json()["model"] == name
        assert answer.headers["x-skerry-model-digest"] == made[name]["digest"]


def test_an_encoder_and_a_decoder_share_a_process_and_each_refuses_the_others_work(three: Running) -> None:
    vector = three.client.post("/v1/embeddings", json={"model": "minilm", "input": "a cat"}).json()
    assert len(vector["data"][0]["embedding"]) == 384
    infer = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a cat"]}]}
    for name, output in (("minilm", "embedding"), ("coder", "text")):
        answer = three.client.post(f"/v2/models/{name}/infer", json=infer).json()
        assert (answer["model_name"], answer["outputs"][0]["name"]) == (name, output)
    wrong = three.complete(model="minilm")
    assert wrong.status_code == 400 and "'minilm' is an encoder" in wrong.json()["error"]["message"]


def test_an_unknown_model_is_a_404_that_names_all_there_are(three: Running) -> None:
    for answer in (
        three.complete(model="gpt"),
        three.client.post("/v1/embeddings", json={"model": "gpt", "input": "x"}),
        three.client.get("/v1/models/gpt"),
    ):
        assert answer.status_code == 404
        assert "served are 'coder', 'chat', 'minilm'" in answer.json()["error"]["message"]
        assert "x-skerry-model-digest" not in answer.headers
    for path in ("/v2/models/gpt", "/v2/models/gpt/ready"):
        assert "'minilm'" in three.client.get(path).json()["error"]


def test_tokens_are_counted_for_the_model_that_made_them(three: Running) -> None:
    before = {name: three.metric("skerry_generated_tokens_total", model=name) for name in ("coder", "chat")}
    three.complete(max_tokens=9, model="chat")
    after = {name: three.metric("skerry_generated_tokens_total", model=name) for name in ("coder", "chat")}
    assert after == {"coder": before["coder"], "chat": before["chat"] + 9}


def test_a_full_queue_of_one_model_leaves_the_other_its_answers(
    start: Callable[..., Running], tiny_int8: dict[str, Any], tiny_chat: dict[str, Any]
) -> None:
    server = start("--slots", "1", "--queue", "1", coder=tiny_int8, chat=tiny_chat).wait_ready()
    second = threading.Thread(target=server.complete)
    with server.stream(LONG) as first:
        lines = first.iter_lines()  # kept: dropping the iterator would close the connection
        next(lines)
        second.start()
        until(lambda: server.metric("skerry_requests_waiting", model="coder") == 1)
        assert server.complete().status_code == 429
        assert server.complete(model="chat").status_code == 200
    second.join()  # the first answer was given up: otherwise this waits for all of it


def test_a_drain_waits_for_the_answers_of_every_model(
    start: Callable[..., Running], tiny_int8: dict[str, Any], tiny_chat: dict[str, Any]
) -> None:
    server = start("--drain-seconds", "600", coder=tiny_int8, chat=tiny_chat).wait_ready()
    with server.stream(LONG, model="chat") as second:
        rest = second.iter_lines()  # kept: dropping an iterator would close its connection
        next(rest)
        with server.stream(LONG) as first:
            lines = first.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.client.get("/v2/health/ready").status_code == 503)
            assert [server.complete(model=name).status_code for name in ("coder", "chat")] == [503, 503]
        until(lambda: server.metric("skerry_requests_running", model="coder") == 0)
        assert server.metric("skerry_requests_running", model="chat") == 1, "the other one is waited for"
    assert server.exit_code() == 0


def test_one_altered_model_ends_the_process_with_code_3_and_its_name(
    start: Callable[..., Running], tiny_int8: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    other = publish(str(tiny), "none", str(tmp_path / "other"), QUICK)
    weights = tmp_path / "other" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    server = start(coder=tiny_int8, spoiled=other)
    assert server.exit_code() == 3
    assert "model 'spoiled'" in server.log() and "model.safetensors" in server.log()
    assert "ready after" not in server.log()


def test_caches_of_all_models_together_fit_the_memory_or_are_a_wrong_flag(
    start: Callable[..., Running], tiny_int8: dict[str, Any], tiny_chat: dict[str, Any]
) -> None:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    all_there_is = int(lines["MemTotal"].split()[0]) // 1024  # other processes may give some back meanwhile
    server = start("--cache-mib", str(all_there_is * 11 // 20), coder=tiny_int8, chat=tiny_chat)
    assert server.exit_code() == 2
    assert "for each of 2 models" in server.log()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "--model NAME=URI@sha256"),
        (["--model-name", "coder"], "--model-uri, --model-name and --digest"),
        (["--model", "coder=/m"], "write NAME=URI@sha256:..."),
        (["--model", "coder=/m@sha256:12"], "64 hex digits"),
        (["--model", f"a=/m@sha256:{'1' * 64}", "--model-name", "b"], "the one or the others"),
        (["--model", f"a=/m@sha256:{'1' * 64}", "--model", f"a=/n@sha256:{'2' * 64}"], "given twice"),
    ],
)
def test_flags_that_leave_open_what_is_served_end_with_code_2(given: list[str], words: str) -> None:
    server = Running("", "", given, {})
    try:
        assert server.exit_code() == 2
        assert words in server.log()
    finally:
        server.kill()


def test_a_server_is_ready_when_all_of_its_models_are_and_tells_of_each_whatever_its_name() -> None:
    limits, metrics = Limits(), Metrics()
    states = [State(name, f"sha256:{name}", Engine(1), limits, metrics) for name in ("a", "org/b")]
    models = Models(states, Door(), limits, metrics)
    states[0].loaded = Loaded(byte_tokenizer(), None, 128, 257, "none", 0, 7)

    async def statuses(*paths: str) -> list[int]:
        transport = httpx.ASGITransport(create_app(models))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return [(await client.get(path)).status_code for path in paths]

    paths = (
        "/v2/health/ready",
        "/v2/models/a/ready",
        "/v2/models/org/b/ready",
        "/v1/models/a",
        "/v1/models/org%2Fb",
    )
    assert asyncio.run(statuses(*paths)) == [503, 200, 503, 200, 503]
    states[1].loaded = states[0].loaded
    assert asyncio.run(statuses(*paths)) == [200] * 5
    models.drain()
    assert asyncio.run(statuses(*paths)) == [503] * 5


def test_a_drain_leaves_bodies_behind_their_heads_a_moment_and_no_more() -> None:
    async def arrives(models: Models, before: bool) -> bool:
        """Whether a body is waited for over some turns of the event loop, and is then no longer waited for."""
        turned = False
        if before:
            models.drain()
        try:
            async with models.receiving():
                models.drain()
                for _ in range(10):
                    models.end_receiving()
                    await asyncio.sleep(0)
                turned = True
                await asyncio.Event().wait()
        except TimeoutError:
            return turned
        return False

    for before in (True, False):
        limits, metrics = Limits(), Metrics()
        models = Models([State("a", "sha256:a", Engine(1), limits, metrics)], Door(), limits, metrics)
        assert asyncio.run(asyncio.wait_for(arrives(models, before), limits.body_seconds / 2))
