"""What a ready server of the tiny model says to good and bad requests over HTTP."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.serving.conftest import QUICK, export
from tests.workloads.serving.serving import NAME, Running, events, running
from workloads.serving.completions import event
from workloads.serving.foreign import FOREIGN
from workloads.serving.messages import read_messages, unknown_in
from workloads.serving.openai import BIASES
from workloads.serving.protocol import ApiError
from workloads.serving.publish import publish

OK = {"model": NAME, "prompt": "x", "max_tokens": 2}


def refusal(shared: Running, status: int, body: Any, route: str = "/v1/completions") -> dict[str, Any]:
    """The error of an OpenAI-shaped refusal."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = shared.client.post(route, content=raw)
    assert response.status_code == status, response.text
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    return response.json()["error"]


def test_the_stream_adds_up_to_the_whole_answer_and_its_usage(shared: Running) -> None:
    whole = shared.complete(max_tokens=60).json()
    body = {"temperature": 0, "prompt": "def f(", "stream_options": {"include_usage": True}}
    with shared.stream(60, **body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        chunks = events(response.iter_lines())
    assert chunks.pop() == "[DONE]"
    assert chunks.pop()["usage"] == whole["usage"] == {
        "prompt_tokens": 6, "completion_tokens": 60, "total_tokens": 66,
    }  # fmt: skip
    assert all(chunk["usage"] is None for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert len(choices) > 5, "tokens should come one by one"
    assert "".join(choice["text"] for choice in choices) == whole["choices"][0]["text"]
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["length"]


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(shared: Running) -> None:
    def text(seed: int) -> str:
        return shared.complete(temperature=1, seed=seed, max_tokens=40).json()["choices"][0]["text"]

    assert text(5) == text(5) != text(6)


def test_a_stop_string_ends_the_answer_before_it(shared: Running) -> None:
    text = shared.complete(max_tokens=40, temperature=1, seed=5).json()["choices"][0]["text"]
    stop = text[10:12]
    choice = shared.complete(max_tokens=40, temperature=1, seed=5, stop=[stop]).json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["text"] == text[: text.index(stop)]


def test_every_answer_names_the_model_version_and_the_replica(
    shared: Running, tiny_int8: dict[str, Any]
) -> None:
    response = shared.complete()
    assert response.headers["x-skerry-model-digest"] == tiny_int8["digest"]
    assert (response.headers["x-skerry-region"], response.headers["x-skerry-replica"]) == ("north", "r7")
    assert tiny_int8["digest"][7:19] in response.json()["system_fingerprint"]


def test_the_model_list_shows_name_version_and_scheme(shared: Running, tiny_int8: dict[str, Any]) -> None:
    (card,) = shared.client.get("/v1/models").json()["data"]
    assert card == shared.client.get(f"/v1/models/{NAME}").json()
    assert (card["id"], card["digest"], card["scheme"]) == (NAME, tiny_int8["digest"], "int8-weight-only")


def test_health_routes_agree_that_a_loaded_model_is_ready(shared: Running) -> None:
    for route in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{NAME}/ready"):
        assert shared.client.get(route).status_code == 200
    assert shared.client.get("/v2/models/other/ready").status_code == 404


def test_an_unknown_model_is_a_404_that_names_the_served_one(shared: Running) -> None:
    error = refusal(shared, 404, {**OK, "model": "gpt-9"})
    assert error["code"] == "model_not_found" and NAME in error["message"]
    assert shared.client.get("/v1/models/gpt-9").status_code == 404


def test_a_chat_with_a_model_without_template_is_pointed_to_completions(shared: Running) -> None:
    body = {"model": NAME, "messages": [{"role": "user", "content": "hi"}]}
    error = refusal(shared, 400, body, "/v1/chat/completions")
    assert error["code"] == "no_chat_template" and "/v1/completions" in error["message"]


def test_a_prompt_beyond_the_context_is_a_400_with_the_numbers(shared: Running) -> None:
    error = refusal(shared, 400, {**OK, "prompt": "x" * 65_535})
    assert error["code"] == "context_length_exceeded"
    assert all(number in error["message"] for number in ("65535", "65537", "65536"))
    assert error["message"].startswith("This model's maximum context length is 65536 tokens")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff\xfe{}", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_a_400(shared: Running, raw: bytes) -> None:
    refusal(shared, 400, raw)


def test_a_body_of_many_megabytes_is_a_413(shared: Running) -> None:
    refusal(shared, 413, b" " * (5 * 1024 * 1024))


def test_a_refused_body_is_not_read_on_so_its_connection_takes_no_other_request(shared: Running) -> None:
    for _ in range(5):
        answer = shared.client.post("/v1/completions", content=b" " * (5 * 1024 * 1024))
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", 7),
        ("prompt", None),
        ("prompt", ""),
        ("prompt", ["a", "b"]),
        ("prompt", [1, "b"]),
        ("prompt", [257]),
        ("prompt", [-1]),
        ("prompt", "\ud800"),
        ("max_tokens", "8"),
        ("max_tokens", 0),
        ("max_tokens", True),
        ("temperature", -1),
        ("temperature", "hot"),
        ("top_p", 1.5),
        ("seed", 0.5),
        ("stop", [1]),
        ("stop", ["a"] * 5),
        ("stop", 0),
        ("stop", False),
        ("stop", {}),
        ("stream", "yes"),
        ("stream_options", 3),
        ("n", 2),
        ("best_of", 3),
        ("logprobs", 1),
        ("logit_bias", {"257": 1}),
        ("logit_bias", {"5": 101}),
        ("logit_bias", {"five": 1}),
        ("logit_bias", {"5": 1, "05": 1}),
        ("top_k", 0.5),
        ("min_tokens", -1),
        ("min_tokens", 3),
        ("service_tier", "priority"),
        ("echo", True),
        ("suffix", "x"),
        ("presence_penalty", 2.5),
        ("tools", [{"type": "function"}]),
        ("response_format", {"type": "json_object"}),
    ],
)
def test_a_field_that_is_wrong_or_cannot_be_honoured_is_a_400_naming_it(
    shared: Running, field: str, value: Any
) -> None:
    error = refusal(shared, 400, {**OK, field: value})
    assert error["param"] == field and field in error["message"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stop": ["a"] * 5}, "stop is a list of 5;"),
        ({"stop": ["a", 7]}, "stop[1] is 7"),
        ({"logit_bias": {"5": 101}}, "token 5 is 101"),
        ({"logit_bias": {"257": 1}}, "token 257"),
        ({"logit_bias": {"5": 1, "005": 1}}, 'key "005"; a token number must have no zeros before it'),
        (
            {"logit_bias": dict.fromkeys(map(str, range(BIASES + 1)), 1)},
            f"has {BIASES + 1} entries; at most {BIASES} are allowed; leave some out",
        ),
        ({"prompt": ["a", "b"]}, "prompt is a list of 2;"),
        ({"prompt": [1, 257]}, "token 257; this model's tokens are 0 to 256"),
        ({"n": 2}, "n is 2, which"),
        ({"min_tokens": 3}, "min_tokens is 3; it must be at most 2"),
        ({"max_tokens": "5", "max_completion_tokens": 3}, "max_tokens is a string"),
    ],
)
def test_a_refusal_says_what_of_a_value_is_wrong(shared: Running, fields: dict[str, Any], words: str) -> None:
    assert words in refusal(shared, 400, {**OK, **fields})["message"]


def test_a_role_that_cannot_be_honoured_is_named(shared: Running) -> None:
    body = {"model": NAME, "messages": [{"role": "tool", "content": "42"}]}
    error = refusal(shared, 400, body, "/v1/chat/completions")
    assert error["param"] == "messages[0].role" and "role is tool" in error["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("refusal", "no"),
        ("audio", {"id": "a"}),
        ("function_call", {"name": "f"}),
        ("tool_calls", [{"type": "function"}]),
        ("name", 7),
        ("name", "\ud800"),
    ],
)
def test_a_field_of_a_message_that_cannot_be_honoured_is_a_400_naming_it(
    shared: Running, field: str, value: Any
) -> None:
    body = {"model": NAME, "messages": [{"role": "assistant", "content": "x", field: value}]}
    error = refusal(shared, 400, body, "/v1/chat/completions")
    assert error["param"] == f"messages[0].{field}" and error["param"] in error["message"]


def test_names_reach_the_chat_template_and_unknown_fields_are_counted_at_any_depth(
    tiny_chat: dict[str, Any],
) -> None:
    empty = {"refusal": None, "audio": None, "function_call": None, "tool_calls": []}
    unknown = {"reasoning_content": "so", "content": [{"type": "text", "text": "hi", "shoe": 1}]}
    with running(tiny_chat) as server:

        def told(message: dict[str, Any], **more: Any) -> tuple[int, float]:
            """Tokens of the prompt, and fields ignored so far."""
            body = {"model": NAME, "messages": [{"role": "user", "content": "hi", **message}], **more}
            answer = server.client.post("/v1/chat/completions", json={**body, "max_tokens": 1})
            assert answer.status_code == 200, answer.text
            return answer.json()["usage"]["prompt_tokens"], server.metric("skerry_ignored_fields_total")

        tokens, _ = told({})
        assert told({"name": "anna", **empty}) == (tokens + len("anna"), 0)
        assert told(unknown, stream_options={"include_usage": True, "shoe": 1}) == (tokens, 3)


def test_neutral_values_are_accepted_and_unknown_fields_are_counted(shared: Running) -> None:
    more = {"n": 1, "logprobs": None, "tools": [], "logit_bias": {}, "user": "u", "service_tier": "auto"}
    before = shared.metric("skerry_ignored_fields_total")
    assert shared.complete(**more).status_code == 200
    assert shared.metric("skerry_ignored_fields_total") == before
    assert shared.complete(shoe_size=43, hat_size=7, messages=[]).status_code == 200
    assert shared.metric("skerry_ignored_fields_total") == before + 3, "messages are a chat's"


def test_a_bias_that_forces_a_token_and_the_ends_of_the_ranges_are_honoured(shared: Running) -> None:
    def text(**more: Any) -> str:
        return shared.complete(max_tokens=12, **more).json()["choices"][0]["text"]

    likeliest = text()
    assert len(set(text(logit_bias={"65": 100}))) == 1 and text(logit_bias={"65": 100}) != likeliest
    assert text(temperature=1, top_k=1) == likeliest
    assert text(temperature=1, top_p=0) == likeliest
    assert text(temperature=1e-300) == likeliest


def test_an_unknown_route_and_a_wrong_method_are_openai_shaped_errors(shared: Running) -> None:
    assert "GET /v1/nothing" in shared.client.get("/v1/nothing").json()["error"]["message"]
    assert shared.client.get("/v1/completions").status_code == 405
    assert shared.client.get("/v1/completions").json()["error"]["type"] == "invalid_request_error"


def test_another_spelling_of_a_route_is_no_redirect_that_could_carry_a_key_elsewhere(shared: Running) -> None:
    for route in ("/v1/completions/", "/v2/health/live/"):
        assert shared.client.post(route, json=OK).status_code == 404


@pytest.mark.parametrize("route", ["live", "ready"])
def test_a_load_balancer_may_ask_for_the_head_of_health_only(shared: Running, route: str) -> None:
    answer = shared.client.head(f"/v2/health/{route}")
    assert answer.status_code == 200 and not answer.content


def test_a_refusal_says_the_beginning_only_of_a_long_name(shared: Running) -> None:
    long = "n" * 50_000
    said = refusal(shared, 404, {**OK, "model": long})["message"]
    assert "n" * 100 + "…" in said and len(said) < 300
    assert len(shared.client.get("/v1/" + long).text) < 600


def test_an_event_is_one_line_whatever_a_client_takes_for_the_end_of_one() -> None:
    text = "a\u2028b\x85c\u2029"
    (line,) = event({"text": text}).strip().splitlines()
    assert json.loads(line.removeprefix("data: ")) == {"text": text}


FOREIGN_VALUES: dict[str, Any] = {
    "repetition_penalty": 1.1,
    "min_p": 0.05,
    "guided_json": {"type": "object"},
    "guided_regex": "[0-9]+",
    "guided_choice": ["a", "b"],
    "structured_outputs": {"regex": "[0-9]+"},
    "chat_template_kwargs": {"enable_thinking": False},
    "chat_template": "{{ messages }}",
    "skip_special_tokens": False,
    "include_stop_str_in_output": True,
    "allowed_token_ids": [1, 2],
    "bad_words": ["no"],
    "truncate_prompt_tokens": 3,
    "use_beam_search": True,
    "prompt_logprobs": 1,
    "grammar": "root ::= [0-9]",
    "json_schema": {"type": "object"},
    "repeat_penalty": 1.2,
    "n_predict": 3,
    "mirostat": 2,
    "regex": "[a-z]",
    "max_new_tokens": 4,
    "do_sample": False,
    "format": "json",
    "options": {"num_ctx": 4},
}


@pytest.mark.parametrize("field", FOREIGN_VALUES)
def test_a_field_of_another_server_that_would_change_the_answer_is_refused_by_name(
    shared: Running, field: str
) -> None:
    error = refusal(shared, 400, {**OK, field: FOREIGN_VALUES[field]})
    assert (error["param"], error["code"]) == (field, "unsupported_field") and field in error["message"]
    assert shared.complete("def f(", **{field: None}).status_code == 200


def test_values_of_other_servers_fields_that_ask_for_nothing_are_accepted(shared: Running) -> None:
    before = shared.metric("skerry_ignored_fields_total")
    asked = {field: neutral[0] for field, neutral in FOREIGN.items() if neutral}
    assert shared.complete("def f(", **asked, max_tokens=2).status_code == 200
    assert shared.metric("skerry_ignored_fields_total") == before


def test_a_token_of_stop_token_ids_ends_the_answer_and_is_no_part_of_it(shared: Running) -> None:
    asked = {"max_tokens": 5, "temperature": 0, "logit_bias": {"65": 100}}

    def told(**more: Any) -> tuple[int, str]:
        answer = shared.complete(**asked, **more).json()
        return answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]

    assert told(stop_token_ids=[66]) == told() == (5, "length")
    assert told(stop_token_ids=[66, 65]) == (0, "stop")
    assert told(stop_token_ids=[65], min_tokens=3) == (3, "stop")
    for wrong in ([257], [-1], "x", [True], list(range(65))):
        assert refusal(shared, 400, {**OK, "stop_token_ids": wrong})["param"] == "stop_token_ids"


def test_a_model_told_to_ignore_its_end_tokens_goes_on_to_the_limit(
    tmp_path: Path, serve: Callable[..., Running]
) -> None:
    folder = export(tmp_path / "export", eos_token_id=list(range(256)))
    server = serve(publish(str(folder), "none", str(tmp_path / "artifact"), QUICK)).wait_ready()
    asked = {"max_tokens": 5, "temperature": 0, "logit_bias": {"65": 100}}
    assert server.complete(**asked).json()["usage"]["completion_tokens"] == 0
    answer = server.complete(**asked, ignore_eos=True).json()
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (5, "length")


@pytest.mark.parametrize("content", [{"content": None}, {}, {"content": None, "tool_calls": []}])
def test_an_assistants_message_without_content_is_an_empty_one(content: dict[str, Any]) -> None:
    history = [
        {"role": "user", "content": "a"},
        {"role": "assistant", **content},
        {"role": "user", "content": "b"},
    ]
    assert read_messages(history)[1] == {"role": "assistant", "content": ""}
    assert unknown_in(history) == 0
    with pytest.raises(ApiError, match=r"messages\[0\].content is null; it must be a string"):
        read_messages([{"role": "user", "content": None}])
