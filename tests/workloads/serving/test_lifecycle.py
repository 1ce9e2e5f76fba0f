"""A real server from start to end: what it refuses to load, how it queues, lets go and stops."""

import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.workloads.serving.conftest import QUICK, export
from tests.workloads.serving.serving import NAME, Running, broken_streams, events, until
from workloads.manifest import manifest_digest, write_manifest
from workloads.serving.flags import flags
from workloads.serving.publish import publish

Serve = Callable[..., Running]
ENDED = "gen_ai_server_request_duration_seconds_count"
LONG = 60_000  # tokens: many seconds of the tiny model, so a test can act while they come


def altered_byte(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])


def missing(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def extra(folder: Path) -> None:
    (folder / "hook.py").write_text("print('hello')")


def other_manifest(folder: Path) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("harm", "file"),
    [
        (altered_byte, "model.safetensors"),
        (truncated, "model.safetensors"),
        (missing, "tokenizer.json"),
        (extra, "hook.py"),
        (other_manifest, "manifest.json"),
        (gone, "manifest.json"),
    ],
)
def test_a_harmed_folder_is_never_served_and_exits_with_3_naming_the_file(
    serve: Serve, tiny_int8: dict[str, Any], tmp_path: Path, harm: Callable[[Path], None], file: str
) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_int8["uri"].removeprefix("file://"), folder)
    harm(folder)
    server = serve({**tiny_int8, "uri": folder.as_uri()})
    assert server.exit_code() == 3
    lines = server.log().splitlines()
    assert len(lines) == 2 and file in lines[1] and ";" in lines[1], server.log()
    assert "ready" not in server.log()


@pytest.mark.parametrize("template", ["{% no such tag %}", ["not a string"]])
def test_a_model_whose_template_cannot_be_read_is_never_ready_and_exits_with_3(
    serve: Serve, tiny_int8: dict[str, Any], tmp_path: Path, template: Any
) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_int8["uri"].removeprefix("file://"), folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    facts = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    write_manifest(folder, **{name: fact for name, fact in facts.items() if name != "files"})
    server = serve({"uri": folder.as_uri(), "digest": manifest_digest(folder)})
    assert server.exit_code() == 3
    assert "cannot be loaded (" in server.log() and "Traceback" not in server.log()


def test_a_server_that_cannot_load_for_any_other_reason_ends_too(
    serve: Serve, tiny_int8: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libtorch_cpu.so: cannot open shared object file')")
    server = serve(tiny_int8, PYTHONPATH=str(tmp_path))
    assert server.exit_code() == 3
    assert "OSError" in server.log() and "Traceback" not in server.log()


def test_another_digest_than_asked_for_exits_with_3_and_says_both(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    other = "sha256:" + "0" * 64
    server = serve({**tiny_int8, "digest": other})
    assert server.exit_code() == 3
    assert other in server.log() and tiny_int8["digest"] in server.log()


def test_a_digest_of_the_wrong_form_is_a_wrong_flag(serve: Serve, tiny_int8: dict[str, Any]) -> None:
    server = serve({**tiny_int8, "digest": "latest"})
    assert server.exit_code() == 2
    assert "sha256:" in server.log()


def test_a_cache_larger_than_the_memory_here_is_a_wrong_flag(serve: Serve, tiny_int8: dict[str, Any]) -> None:
    server = serve(tiny_int8, "--cache-mib", str(10**9))
    assert server.exit_code() == 2
    assert "--cache-mib 1000000000" in server.log() and "give less" in server.log()


def test_a_cache_smaller_than_a_block_is_a_wrong_flag_and_says_what_is_enough(
    serve: Serve, tmp_path: Path
) -> None:
    source = export(tmp_path / "export", head_dim=4096)  # 128 KiB of keys and values a position
    artifact = publish(str(source), "none", str(tmp_path / "wide"), QUICK)
    server = serve(artifact, "--cache-mib", "1")
    assert server.exit_code() == 2
    assert "--cache-mib 1: that is 8 positions" in server.log() and "give 2 or more" in server.log()
    assert "ready after" not in server.log()


def test_a_port_in_use_exits_with_4_naming_it(serve: Serve, tiny_int8: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = serve(tiny_int8, "--port", port)
        assert server.exit_code() == 4
        assert f"--port {port}" in server.log() and "choose another" in server.log()


def test_a_server_is_live_before_and_ready_only_after_its_first_token(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8)
    seen = []

    def ready() -> bool:
        assert server.client.get("/v2/health/live").status_code == 200
        seen.append(server.client.get("/v2/health/ready").status_code)
        if seen[-1] == 503 and "ready after" not in server.log():
            assert server.complete().status_code in (200, 503)
        return seen[-1] == 200

    until(ready)
    assert seen[0] == 503, "torch alone takes longer to import than the first question"
    assert server.complete().status_code == 200


def test_a_full_queue_answers_429_and_a_client_that_leaves_makes_room(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8, "--queue", "1", "--slots", "1").wait_ready()
    waiting: list[httpx.Response] = []
    second = threading.Thread(target=lambda: waiting.append(server.complete()))
    with server.stream(LONG) as first:
        lines = first.iter_lines()  # kept: dropping the iterator would close the connection
        next(lines)
        second.start()
        until(lambda: server.metric("skerry_requests_waiting") == 1)
        refused = server.complete()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "queue_full"
        assert server.metric(ENDED, error_type="queue_full") == 1
    second.join()  # the first answer was given up: otherwise this waits for all of it
    assert waiting[0].status_code == 200
    assert server.metric(ENDED, error_type="client_left") == 1
    assert server.metric("skerry_generated_tokens_total") < LONG


def test_a_client_that_leaves_a_whole_answer_stops_its_generation(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8).wait_ready()
    body = {"model": NAME, "prompt": "x", "max_tokens": LONG}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.client.base_url.join("/v1/completions"), json=body, timeout=0.5)
    until(lambda: server.metric(ENDED, error_type="client_left") == 1)
    until(lambda: server.metric("skerry_requests_running") == 0)
    assert server.metric("skerry_generated_tokens_total") < LONG


def test_sigterm_lets_answers_in_flight_finish_while_not_ready_and_exits_with_0(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8).wait_ready()
    with server.stream(2000) as answer:
        lines = answer.iter_lines()
        head = [next(lines)]
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.client.get("/v2/health/ready").status_code == 503)
        assert server.complete().status_code == 503
        chunks = events(iter([*head, *lines]))
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert server.exit_code() == 0


def test_who_asked_lately_hears_that_the_server_ends_before_it_does(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8).wait_ready()
    assert "connection" not in server.complete().headers
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "asked to stop" in server.log())
    time.sleep(0.2)  # without anything open it would be gone by now
    refused = server.complete()
    assert (refused.status_code, refused.headers["connection"]) == (503, "close")
    assert server.exit_code() == 0


def test_sigterm_while_it_still_loads_ends_a_server_without_a_complaint(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    moments = ("listening on", "verified after", "torch imported after", "ready after")
    for moment, server in [(moment, serve(tiny_int8)) for moment in moments]:
        until(lambda moment=moment, server=server: moment in server.log())
        server.process.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0, (moment, server.log())
        said = server.log().lower()
        assert "stopped after" in said and "traceback" not in said and "error" not in said, moment


def test_a_stream_that_is_ended_early_tells_why_and_is_an_incomplete_body(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8, "--drain-seconds", "0.2").wait_ready()
    seen: list[str] = []

    def read() -> None:
        with server.stream(LONG) as answer:
            for part in answer.iter_text():
                if not seen:
                    server.process.send_signal(signal.SIGTERM)
                seen.append(part)

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        read()
    text = "".join(seen)
    assert '"code": "cancelled"' in text and "[DONE]" not in text and '"finish_reason": "' not in text
    assert server.exit_code() == 0


def test_a_server_that_is_killed_under_load_leaves_only_incomplete_bodies(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8).wait_ready()
    ends = broken_streams(server, 6, LONG, server.process.kill)
    assert len(ends) == 6 and "whole" not in ends


def test_a_drain_that_is_left_out_is_as_long_as_the_longest_answer(tmp_path: Path) -> None:
    model = ["--model-uri", str(tmp_path), "--digest", f"sha256:{'1' * 64}", "--model-name", "m"]
    assert flags(model).drain_seconds == flags(model).answer_seconds
    assert flags([*model, "--answer-seconds", "7"]).drain_seconds == 7
    assert flags([*model, "--answer-seconds", "7", "--drain-seconds", "0"]).drain_seconds == 0
