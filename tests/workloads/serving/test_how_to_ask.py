"""The page that tells how to ask a served model: its commands, and its tables of fields and of errors."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.serving.conftest import MINILM, QUICK, SMOLLM2, export_encoder
from tests.workloads.serving.serving import ROOT, Running, events
from tests.workloads.serving.test_how_to import do
from workloads.serving import embeddings, messages, oip, openai
from workloads.serving.app import HTTP_CODES
from workloads.serving.flags import flags
from workloads.serving.publish import REFUSED, main, publish

PAGE = "ask-a-served-model.md"
ROUTES = ("/v1/completions", "/v1/chat/completions", "/v1/embeddings")
TEXT = (ROOT / "docs" / "how-to" / PAGE).read_text()


@pytest.fixture(scope="module")
def server(tiny_chat: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Tiny models under the names of the page's."""
    folder = tmp_path_factory.mktemp("encoder")
    encoder = publish(str(export_encoder(folder / "export")), "none", str(folder / "artifact"), QUICK)
    named = {"smollm2": tiny_chat, "minilm": encoder}
    models = [f"--model={name}={made['uri']}@{made['digest']}" for name, made in named.items()]
    running = Running("", "", models, {})
    try:
        yield running.wait_ready()
    finally:
        running.kill()


def test_each_command_of_the_page_is_answered_with_what_the_page_says(
    server: Running, tmp_path: Path
) -> None:
    ran = do(PAGE, tmp_path, url=str(server.client.base_url).rstrip("/"))
    assert [done.returncode for done in ran] == [0] * 8, "".join(done.stderr for done in ran)
    completion, chat, stream, vectors, text, tensor, client, refused = (done.stdout for done in ran)
    assert json.loads(completion)["choices"][0]["text"] == json.loads(text)["outputs"][0]["data"][0] != ""
    assert json.loads(chat)["choices"][0]["message"]["content"]
    *chunks, last, done = events(iter(stream.splitlines()))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert (last["choices"], last["usage"]["completion_tokens"], done) == ([], 40, "[DONE]")
    two = [one["embedding"] for one in json.loads(vectors)["data"]]
    (output,) = json.loads(tensor)["outputs"]
    assert output["shape"] == [2, len(two[0])] and output["data"] == two[0] + two[1]
    size = f"{len(two[0])}\n"
    assert client.endswith("\n" + size)
    answers = client.removesuffix(size)
    assert answers[: len(answers) // 2] == answers[len(answers) // 2 :] != "\n"  # whole and streamed
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert refused.strip() == shown.strip()


def test_the_page_publishes_what_its_server_serves() -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [shlex.split(line) for line in block.splitlines()]
    places = {}
    for line in lines:
        if "workloads.serving.publish" in line:
            asked = line[3 : line.index(">")]
            assert main([*asked, "--judge-bytes", "1"]) == REFUSED  # so the flags were taken
            given = dict(zip(asked[::2], asked[1::2], strict=True))
            places[given["--source"]] = given["--output"]
            assert line[-1] == given["--output"] + ".json"
    assert places == {SMOLLM2: "out/smollm2", MINILM: "out/minilm"}
    served = lines[-1][3:]
    assert served == ["--model", "$(model smollm2)", "--model", "$(model minilm)"]
    digest = "sha256:" + "0" * 64
    taken = flags([re.sub(r"\$\(model (\w+)\)", rf"\1=out/\1@{digest}", word) for word in served])
    assert {str(model.place) for model in taken.models} == set(places.values())


def rows(head: str) -> list[list[str]]:
    """The rows of the table whose first column has this head; each a list of cells."""
    table = TEXT.partition(f"\n| {head} |")[2].partition("\n\n")[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert found, f"the page has no table {head!r}"
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def honoured(head: str) -> list[str]:
    return sorted(name for row in rows(head) for name in names(row[0]))


def test_the_tables_of_fields_are_the_lists_that_requests_are_read_by() -> None:
    inside = {f"messages[].{field}" for field in messages.HONOURED}
    inside |= {f"messages[].content[].{field}" for field in messages.PART}
    options = {f"stream_options.{field}" for field in openai.STREAMING - {"include_obfuscation"}}
    assert honoured("honoured in completions and chats") == sorted(openai.HONOURED | inside | options)
    assert honoured("honoured in embeddings") == sorted(embeddings.FIELDS - {"user"})
    tensors = {f"inputs[].{field}" for field in oip.INPUT} | {f"outputs[].{field}" for field in oip.OUTPUT}
    neutral = {f"{tensor}[].{field}" for tensor in ("inputs", "outputs") for field in oip.NEUTRAL}
    assert honoured("honoured in infer") == sorted(oip.FIELDS | tensors - neutral)
    (parameters,) = (row[1] for row in rows("honoured in infer") if names(row[0]) == ["parameters"])
    assert sorted(names(parameters)) == sorted(oip.NOT_PARAMETERS)


def test_the_table_of_values_without_effect_is_the_one_that_requests_are_refused_by() -> None:
    *told, (anything, meaningless) = rows("taken without effect")
    assert anything == "any value" and sorted(names(meaningless)) == sorted(openai.MEANINGLESS)
    taken: dict[str, tuple[object, ...]] = {}
    for values, fields in told:
        read = [json.loads(value) for value in names(values)]
        for field in names(fields):
            assert field not in taken, f"{field} is in two rows"
            taken[field] = tuple(value for value in read if value is not None)
    expected = dict(openai.NEUTRAL) | {"stream_options.include_obfuscation": (False,)}
    expected |= {f"messages[].{field}": values for field, values in messages.NEUTRAL.items()}
    for tensor in ("inputs", "outputs"):
        expected |= {f"{tensor}[].{field}": values for field, values in oip.NEUTRAL.items()}
    # as JSON, in which false is no 0
    assert {field: json.dumps(values) for field, values in taken.items()} == {
        field: json.dumps(values) for field, values in expected.items()
    }


def test_the_table_of_errors_has_every_status_and_code_that_the_code_answers_with(server: Running) -> None:
    told = [(int(status), *names(code)) for status, code, *_ in rows("status")]
    by_framework = {
        (404, "not_found"): server.client.get("/v1/nothing"),
        (405, "method_not_allowed"): server.client.get("/v1/completions"),
    }
    for expected, answer in by_framework.items():
        assert (answer.status_code, answer.json()["error"]["code"]) == expected
    assert sorted(told) == sorted(raised() | by_framework.keys())


def test_no_error_of_the_server_is_without_a_code(server: Running) -> None:
    assert [code for code in raised() if not code[1] or code[1] == "null"] == []
    large = b" " * (5 * 1024 * 1024)
    asked = {
        (400, "invalid_json"): [server.client.post(route, content=b"{") for route in ROUTES],
        (413, "request_too_large"): [server.client.post(route, content=large) for route in ROUTES],
        (404, "not_found"): [server.client.get("/v1/nothing"), server.client.post("/v1/completions/")],
        (405, "method_not_allowed"): [server.client.get(route) for route in ROUTES],
    }
    for expected, answers in asked.items():
        for answer in answers:
            assert (answer.status_code, answer.json()["error"]["code"]) == expected, answer.request.url


def test_a_fault_has_the_code_that_the_gateway_in_front_gives_it() -> None:
    gateway = ROOT / "components" / "envoy"
    theirs = "".join((gateway / name).read_text() for name in ("errors.py", "routes.py"))
    shared = {
        "invalid_json", "invalid_request", "method_not_allowed", "model_not_found", "not_found", "not_ready",
        "request_timeout", "request_too_large", "timeout",
    }  # fmt: skip
    ours = {code for _, code in raised()} | {*HTTP_CODES.values(), "invalid_request"}
    assert {code for code in shared if f'"{code}"' not in theirs} == shared - ours == set()


def raised() -> set[tuple[int, str]]:
    """Status and code of each ApiError that a file of the server makes; where the status is another's, none."""
    found = set()
    for file in (ROOT / "workloads" / "serving").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "ApiError":
                continue
            if isinstance(status := call.args[0], ast.Constant):
                codes = [word.value for word in call.keywords if word.arg == "code"]
                found.add((status.value, str(ast.literal_eval(codes[0])) if codes else "null"))
    return found
