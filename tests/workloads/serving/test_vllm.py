"""Engine vllm: the same server in front of `vllm serve`.

Here a stand-in is behind it; `make vllm` gives the path of the real one in SKERRY_VLLM and runs the same tests.
"""

import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.workloads.serving.conftest import QUICK, TEMPLATE, export
from tests.workloads.serving.serving import NAME, Running, broken_streams, events, until
from workloads.serving.publish import publish

REAL = os.environ.get("SKERRY_VLLM")
ENGINE = ["--engine", "vllm", "--cache-mib", "256", "--vllm-arguments=--enforce-eager"]  # it starts sooner so
# vLLM's build for CPUs hands over nothing for seconds where a token takes it 3 ms, so its model takes some 20 ms a
# token, as a served one does; one head of keys keeps 65,536 tokens of it within --cache-mib.
SIZES = (
    {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12}
    | {"num_attention_heads": 16, "num_key_value_heads": 1}
    if REAL
    else {"hidden_size": 128}
)
LONG = 30_000  # tokens: many seconds, so a test can act while they come
WHOLE = 500 if REAL else 3000  # tokens of an answer that is read to its end
Serve = Callable[..., Running]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An artifact with heads as large as vLLM wants them."""
    folder = tmp_path_factory.mktemp("wide")
    export(folder / "export", TEMPLATE, **SIZES)
    return publish(str(folder / "export"), "none", str(folder / "artifact"), QUICK)


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command that the server starts."""
    if REAL:
        return Path(REAL)
    path = tmp_path_factory.mktemp("bin") / "vllm"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.workloads.serving.vllm_stand_in "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def front(serve: Serve, wide: dict[str, Any], vllm: Path) -> Serve:
    """Start servers with engine vllm, all of one artifact unless another is given."""

    def start(*more: str, artifact: dict[str, Any] = wide, **environment: str) -> Running:
        behind = {"STAND_IN": f"{artifact['uri']} {artifact['digest']}"}
        flags = [*ENGINE, "--vllm", str(vllm), *more]
        return serve(artifact, *flags, **behind, **environment)

    return start


@pytest.fixture(scope="module")
def ready(wide: dict[str, Any], vllm: Path) -> Any:
    """One ready server for tests that leave it as it was."""
    flags = [*ENGINE, "--vllm", str(vllm), "--answer-tokens", "40000"]
    behind = {"STAND_IN": f"{wide['uri']} {wide['digest']}"}
    server = Running(wide["uri"], wide["digest"], flags, behind)
    try:
        yield server.wait_ready()
    finally:
        server.process.terminate()  # a server that is killed ends vLLM too, but nobody waits for that
        server.exit_code()
        server.kill()


def children(server: Running) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def test_greedy_text_is_that_of_engine_torch(ready: Running, serve: Serve, wide: dict[str, Any]) -> None:
    torch = serve(wide).wait_ready()
    for prompt in ("def f(", "x = [1, ", "Hello"):
        ask = {"prompt": prompt, "max_tokens": 32}
        answers = [server.complete(**ask).json() for server in (ready, torch)]
        # of a character that is cut off at the end, vLLM shows nothing, and engine torch a mark
        texts = [answer["choices"][0]["text"].rstrip("\ufffd") for answer in answers]
        assert texts[0] == texts[1] and len(texts[0]) > 8
        assert answers[0]["usage"]["completion_tokens"] == answers[1]["usage"]["completion_tokens"]


def test_a_chat_follows_the_models_template(ready: Running) -> None:
    answer = ready.chat("hi", max_tokens=4).json()
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["usage"]["prompt_tokens"] == len("[user]hi>")


def test_a_stream_passes_as_it_comes(ready: Running) -> None:
    more = {"stream_options": {"include_usage": True}, "temperature": 0}
    before = ready.metric("skerry_generated_tokens_total")
    with ready.stream(WHOLE, **more) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        head = [next(lines)]
        assert ready.metric("skerry_generated_tokens_total") - before < WHOLE, "the first event came last"
        chunks = events(iter([*head, *lines]))
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["usage"]["completion_tokens"] == WHOLE
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks[:-2])


def test_a_request_is_refused_as_by_engine_torch(ready: Running) -> None:
    assert ready.client.post("/v1/completions", content=b"{").status_code == 400
    assert ready.complete(model="other").status_code == 404
    assert ready.complete(temperature="warm").json()["error"]["param"] == "temperature"
    assert ready.complete(n=2).json()["error"]["code"] == "unsupported_field"
    assert ready.complete(max_tokens=40_001).json()["error"]["param"] == "max_tokens"
    assert ready.complete(logit_bias={"0": float("1e2")}, unheard_of=1).status_code == 200


def test_a_prompt_longer_than_the_context_is_a_clients_mistake(ready: Running) -> None:
    assert ready.complete("x" * 65_536, max_tokens=8).status_code == 400


def test_the_open_inference_protocol_works_too(ready: Running) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["def f("]}
    ask = {"inputs": [tensor], "parameters": {"max_tokens": 8, "temperature": 0}}
    answer = ready.client.post(f"/v2/models/{NAME}/infer", json=ask).json()
    assert answer["outputs"][0]["data"] == [ready.complete().json()["choices"][0]["text"]]
    assert answer["parameters"]["finish_reason"] == "length"
    assert ready.client.get(f"/v2/models/{NAME}").json()["platform"] == "skerry_vllm"


def test_metrics_hold_vllms_own_and_ours_filled_from_them(ready: Running) -> None:
    before = ready.metric("skerry_generated_tokens_total", model=NAME)
    seen = ready.metric("gen_ai_server_time_to_first_token_seconds_count")
    assert ready.complete(max_tokens=8).status_code == 200
    with ready.stream(8) as answer:
        answer.read()
    assert ready.metric("skerry_generated_tokens_total", model=NAME) == before + 16
    assert ready.metric("vllm:generation_tokens_total") == before + 16
    assert ready.metric("gen_ai_server_time_to_first_token_seconds_count") == seen + 1, "only streams tell it"
    assert ready.metric("gen_ai_client_token_usage_sum", gen_ai_token_type="output") >= 8
    text = ready.client.get("/metrics").text
    families = re.findall(r"(?m)^# TYPE (\S+)", text)
    assert len(families) == len(set(families)), "a name told twice is refused by Prometheus"


def test_a_full_house_answers_429_and_a_client_that_leaves_makes_room(front: Serve) -> None:
    server = front("--slots", "1", "--queue", "1").wait_ready()
    waiting: list[httpx.Response] = []
    second = threading.Thread(target=lambda: waiting.append(server.complete()))
    with server.stream(LONG) as first:
        lines = first.iter_lines()
        next(lines)
        second.start()
        until(lambda: server.metric("skerry_requests_waiting") == 1)
        refused = server.complete()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "queue_full"
    second.join()  # vLLM gave the first up: otherwise this waits for all of it
    assert waiting[0].status_code == 200
    until(lambda: server.metric("skerry_requests_running") == 0)
    assert server.metric("skerry_generated_tokens_total") < LONG
    left = {"error_type": "client_left"}
    assert server.metric("gen_ai_server_request_duration_seconds_count", **left) == 1


def test_a_client_that_leaves_a_whole_answer_stops_its_generation(ready: Running) -> None:
    before = ready.metric("skerry_generated_tokens_total")
    body = {"model": NAME, "prompt": "x", "max_tokens": LONG}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(ready.client.base_url.join("/v1/completions"), json=body, timeout=0.5)
    until(lambda: ready.metric("skerry_requests_running") == 0)
    assert ready.metric("skerry_generated_tokens_total") - before < LONG


def test_sigterm_lets_answers_finish_while_not_ready_ends_vllm_too_and_leaves_nothing(
    front: Serve, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temporary = tmp_path_factory.mktemp("t")  # a short name: sockets lie there
    server = front(TMPDIR=str(temporary)).wait_ready()
    behind = children(server)
    with server.stream(WHOLE) as answer:
        lines = answer.iter_lines()
        head = [next(lines)]
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.client.get("/v2/health/ready").status_code == 503)
        assert server.complete().status_code == 503
        chunks = events(iter([*head, *lines]))
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert server.exit_code() == 0
    assert behind and not [one for one in behind if one.is_running() and one.status() != "zombie"]
    assert not list(temporary.iterdir())


def test_a_stream_that_is_ended_early_is_an_incomplete_body(front: Serve) -> None:
    server = front("--drain-seconds", "0.2").wait_ready()
    seen: list[str] = []

    def read() -> None:
        with server.stream(LONG) as answer:
            for part in answer.iter_text():
                if not seen:
                    server.process.send_signal(signal.SIGTERM)
                seen.append(part)

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        read()
    assert "[DONE]" not in "".join(seen)
    assert server.exit_code() == 0


def test_it_is_ready_only_after_a_first_answer_and_ends_one_that_takes_too_long_with_504(
    front: Serve,
) -> None:
    server = front("--answer-seconds", "0.5")
    seen = []

    def is_ready() -> bool:
        assert server.process.poll() is None, server.log()
        assert server.client.get("/v2/health/live").status_code == 200
        seen.append(server.client.get("/v2/health/ready").status_code)
        return seen[-1] == 200

    until(is_ready)
    assert seen[0] == 503
    answer = server.complete(max_tokens=LONG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    until(lambda: server.metric("skerry_requests_running") == 0)


def test_a_vllm_that_is_killed_leaves_incomplete_bodies_and_exit_code_5(front: Serve) -> None:
    server = front().wait_ready()

    def kill() -> None:
        for process in children(server):
            process.kill()

    ends = broken_streams(server, 4, LONG, kill)
    assert len(ends) == 4 and "whole" not in ends
    assert server.exit_code() == 5
    assert "vLLM ended with -9" in server.log()


def test_a_server_that_is_killed_takes_vllm_with_it(front: Serve) -> None:
    server = front().wait_ready()
    behind = children(server)
    assert behind
    server.process.kill()
    until(lambda: not [one for one in behind if one.is_running() and one.status() != "zombie"])


def test_an_altered_file_is_refused_before_vllm_is_started(
    front: Serve, wide: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(wide["uri"].removeprefix("file://"), folder)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    server = front(artifact={**wide, "uri": folder.as_uri()})
    assert server.exit_code() == 3
    assert len(server.log().splitlines()) == 2 and "model.safetensors" in server.log()


def test_a_scheme_that_vllm_cannot_read_is_refused_with_the_remedy(
    front: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = front(artifact=tiny_int8)
    assert server.exit_code() == 3
    assert "'int8-weight-only'" in server.log() and "publish the model as bf16" in server.log()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--vllm", "/nowhere/vllm"], "no such command"),
        (["--vllm-arguments=--port=8000"], "this server decides it"),
        (["--compile-cache", "/tmp/none"], "is for --engine torch"),
    ],
)
def test_a_flag_that_does_not_fit_is_refused(front: Serve, flags: list[str], said: str) -> None:
    server = front(*flags)
    assert server.exit_code() == 2
    assert said in server.log()


def test_no_text_of_a_request_is_in_a_log(ready: Running) -> None:
    assert ready.complete("mysecretword " * 3).status_code == 200
    assert ready.complete("mysecretword" * 10_000).status_code == 400
    assert "mysecret" not in ready.log()
