"""What the front of engine vllm makes of artifacts, requests and broken streams; vLLM itself has no part in it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from aiohttp import web
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.workloads.serving.conftest import QUICK, TEMPLATE, export
from tests.workloads.serving.serving import ROOT, Running
from tests.workloads.serving.test_clients import not_chunked
from tests.workloads.serving.vllm_stand_in import BREAKS
from workloads.manifest import ManifestError
from workloads.serving.architecture import Architecture
from workloads.serving.artifact import hold, open_artifact
from workloads.serving.engine import Engine
from workloads.serving.flags import flags
from workloads.serving.limits import Limits
from workloads.serving.openai import read
from workloads.serving.protocol import ApiError
from workloads.serving.publish import publish
from workloads.serving.state import State
from workloads.serving.vllm.engine import Vllm
from workloads.serving.vllm.front import REFUSED, content
from workloads.serving.vllm.layout import lay_out, llama_config

SERVED = ["--model-uri", "/none", "--model-name", "m", "--digest", "sha256:" + "0" * 64]
SERVED += ["--engine", "vllm", "--vllm", sys.executable]


def laid_out(artifact: dict[str, Any], place: Path) -> Any:
    """What `place` gives to transformers."""
    folder = Path(artifact["uri"].removeprefix("file://"))
    opened = open_artifact(folder, artifact["digest"])
    with hold(folder, "model.safetensors", opened.facts) as weights:
        (folder / "model.safetensors").rename(
            folder / "elsewhere"
        )  # the verified file is used, whatever lies there
        try:
            lay_out(opened, weights, place)
            return AutoModelForCausalLM.from_pretrained(place), AutoTokenizer.from_pretrained(place)
        finally:
            (folder / "elsewhere").rename(folder / "model.safetensors")


@pytest.mark.parametrize("scheme", ["none", "bf16"])
def test_an_artifact_is_laid_out_as_the_model_that_it_was_published_from(tmp_path: Path, scheme: str) -> None:
    source = export(tmp_path / "export", TEMPLATE, tie_word_embeddings=False, eos_token_id=256)
    artifact = publish(str(source), scheme, str(tmp_path / "artifact"), QUICK)
    model, tokenizer = laid_out(artifact, tmp_path / "laid-out")
    before = AutoModelForCausalLM.from_pretrained(source)
    tokens = tokenizer("def f(", return_tensors="pt").input_ids
    assert tokens.tolist() == [list(AutoTokenizer.from_pretrained(source)("def f(").input_ids)]
    near = 0.0 if scheme == "none" else 0.1
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits.float(), before(tokens).logits, rtol=near, atol=near)
    assert model.generation_config.eos_token_id in (256, [256])
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert chat == "[user]hi"


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_the_config_that_is_written_is_read_back_as_the_same_shape(factor: float) -> None:
    shape = Architecture(64, 32, 48, 2, 4, 2, 8, 128, 1e-5, 5e5, factor, False, (1, 2))
    assert Architecture.from_hf(llama_config(shape)) == shape


def test_a_file_that_was_replaced_since_it_was_verified_is_not_held(
    tiny_chat: dict[str, Any], tmp_path: Path
) -> None:
    folder = Path(tiny_chat["uri"].removeprefix("file://"))
    facts = open_artifact(folder, tiny_chat["digest"]).facts
    (tmp_path / "model.safetensors").write_bytes(b"another model")
    with pytest.raises(ManifestError, match="expected sha256"):
        hold(tmp_path, "model.safetensors", facts)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b""), (500, b"vllm:generation_tokens_total 0.0\n"), (200, b'{"error": "none"}'), (200, b"\xff")],
)
def test_what_vllm_says_in_place_of_its_metrics_leaves_the_last_figures(
    tmp_path_factory: pytest.TempPathFactory, status: int, body: bytes
) -> None:
    told = "vllm:generation_tokens_total 7.0\n"
    answers = iter([web.Response(text=told), web.Response(status=status, body=body)])
    vllm = Vllm(tmp_path_factory.mktemp("v") / "s", 1)  # a short name: a socket

    async def answer(request: web.Request) -> web.Response:
        return next(answers)

    async def ask_twice() -> list[str]:
        app = web.Application()
        app.router.add_get("/metrics", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, vllm.socket).start()
        try:
            return [await vllm.metrics(), await vllm.metrics()]
        finally:
            await vllm.session.close()
            await runner.cleanup()

    assert asyncio.run(ask_twice()) == [told, ""]
    assert vllm.figures.counts().generated_tokens == 7


@pytest.mark.parametrize(
    ("word", "stands_for"),
    [
        ("--port", "--port"),
        ("--max-num-se", "--max-num-seqs"),
        ("--max_num_se=999", "--max-num-seqs"),
        ("--enable-log-req", "--enable-log-requests"),
        ("--no-enable_log_req", "--enable-log-requests"),
        ("--served-model.a=b", "--served-model-name"),
        ("--mod", "--model"),
        ("--ho", "--host"),
    ],
)
def test_an_argument_that_vllm_takes_for_one_that_is_decided_here_is_refused(
    capsys: pytest.CaptureFixture[str], word: str, stands_for: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        flags([*SERVED, "--vllm-arguments", f"--enforce-eager {word}"])
    assert ended.value.code == 2
    assert f"vLLM takes it for {stands_for}, and this server decides it" in capsys.readouterr().err


def test_arguments_of_vllm_that_only_look_like_those_decided_here_are_taken() -> None:
    words = ["--max-num-batched-tokens", "4096", "--model-impl=auto", "-tp", "2", "--kv-cache-dtype", "auto"]
    words += ["--hf-overrides.dtype", "-", "--enable-prefix-caching", "--no-enable-chunked-prefill"]
    assert flags([*SERVED, "--vllm-arguments", " ".join(words)]).vllm_arguments == words


def asked(chat: bool = False, limit: int | None = None, **fields: Any) -> dict[str, Any]:
    """What vLLM is sent for a request."""
    subject = {"messages": [{"role": "developer", "content": "hi"}]} if chat else {"prompt": ["hi"]}
    body = {"model": "m", **subject, **fields}
    state = State("m", "sha256:0", Engine(1), limits=Limits(answer_tokens=limit))
    return json.loads(content(body, read(body, chat, REFUSED), state))


def test_vllm_is_sent_only_fields_of_this_contract() -> None:
    sent = asked(seed=1, logprobs=2, shoe_size=43, user="u", stream_options={})
    assert sent == {"model": "m", "prompt": "hi", "seed": 1, "logprobs": 2, "stream_options": None}
    assert asked(chat=True)["messages"] == [{"role": "system", "content": "hi"}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ignore_eos", True),
        ("stop_token_ids", [1]),
        ("repetition_penalty", 1.1),
        ("min_p", 0.1),
        ("structured_outputs", {"regex": "a"}),
        ("chat_template_kwargs", {"enable_thinking": False}),
    ],
)
def test_vllms_own_fields_reach_it(field: str, value: Any) -> None:
    assert asked(chat=True, **{field: value})[field] == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kv_transfer_params", {"a": 1}),
        ("chat_template", "x"),
        ("guided_json", {"type": "object"}),
        ("regex", "a"),
    ],
)
def test_a_field_that_does_not_reach_vllm_and_would_change_the_answer_is_refused(
    field: str, value: Any
) -> None:
    with pytest.raises(ApiError, match=f"{field} is .*, which this server cannot honour"):
        asked(**{field: value})


def test_the_limit_of_tokens_holds_where_a_request_names_none() -> None:
    assert "max_tokens" not in asked()
    assert asked(limit=100)["max_tokens"] == 16
    assert asked(limit=5)["max_tokens"] == 5
    assert asked(chat=True, limit=100)["max_tokens"] == 100
    assert asked(limit=100, max_tokens=50)["max_tokens"] == 50


def test_a_stream_that_vllm_breaks_and_ends_like_a_whole_one_is_an_incomplete_body(
    serve: Callable[..., Running], tiny_chat: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "vllm"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.workloads.serving.vllm_stand_in "$@"\n')
    path.chmod(0o755)
    behind = {"STAND_IN": f"{tiny_chat['uri']} {tiny_chat['digest']}", BREAKS: "1"}
    server = serve(tiny_chat, "--engine", "vllm", "--vllm", str(path), **behind).wait_ready()
    seen: list[str] = []

    def stream() -> None:
        with server.stream(8) as answer:
            seen.extend(answer.iter_text())

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        stream()
    assert b"ask with HTTP/1.1" in not_chunked(server, stream=True)
    assert "the engine broke" in "".join(seen) and "[DONE]" not in "".join(seen)


def test_a_tied_process_does_not_begin_when_its_parent_is_gone() -> None:
    command = [sys.executable, "-m", "workloads.serving.vllm.tied", str(os.getppid()), "echo", "begun"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
