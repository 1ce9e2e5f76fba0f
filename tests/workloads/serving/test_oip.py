"""The Open Inference Protocol on both kinds of models, and embeddings as the official client asks for them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
import torch

from tests.workloads.serving.serving import HANG_SECONDS, NAME, Running, running, until
from tests.workloads.serving.test_encoder import TEXTS, encoder
from workloads.serving.app import create_app
from workloads.serving.auth import Door
from workloads.serving.engine import Engine
from workloads.serving.limits import Limits
from workloads.serving.metrics import Metrics
from workloads.serving.models import Models
from workloads.serving.state import State

ROUTE = f"/v2/models/{NAME}/infer"


def tensor(*texts: Any, **changes: Any) -> dict[str, Any]:
    return {
        "inputs": [{"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts, **changes}]
    }


@pytest.fixture(scope="module")
def embedding(minilm: dict[str, Any]) -> Iterator[Running]:
    with running(minilm, "--probe-seconds", "600") as server:
        until(lambda: "quality is not measured: an encoder's is not" in server.log())
        yield server


def test_the_metadata_of_server_and_model_name_the_version_and_the_tensors(shared: Running) -> None:
    card = shared.client.get(f"/v2/models/{NAME}").json()
    assert card["versions"] == [shared.client.get("/v2").json()["version"]]
    assert card["inputs"] == card["outputs"] == [{"name": "text", "datatype": "BYTES", "shape": [1]}]


def test_infer_continues_a_text_as_a_completion_does(shared: Running) -> None:
    whole = shared.complete("def f(", max_tokens=12).json()
    ask = {"id": "7", "parameters": {"max_tokens": 12, "temperature": 0}, **tensor("def f(")}
    answer = shared.client.post(ROUTE, json=ask).json()
    assert (answer["id"], answer["model_name"]) == ("7", NAME)
    (output,) = answer["outputs"]
    assert output == {
        "name": "text",
        "datatype": "BYTES",
        "shape": [1],
        "data": [whole["choices"][0]["text"]],
    }
    assert answer["parameters"] == {"finish_reason": "length", "prompt_tokens": 6, "completion_tokens": 12}


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({}, "inputs is null"),
        (tensor("x", datatype="FP32"), "inputs[0].datatype"),
        (tensor("x", name="words"), "inputs[0].name"),
        (tensor("x", shape=[2]), "shape must be [1]"),
        (tensor(7), "inputs[0].data"),
        (tensor("x", "y"), "one per request"),
        ({**tensor("x"), "parameters": {"stream": True}}, "parameters.stream"),
        ({**tensor("x"), "parameters": {"temperature": "hot"}}, "temperature is a string"),
        ({**tensor("x"), "parameters": 7}, "parameters is 7"),
        ({**tensor("x"), "outputs": [{"name": "logits"}]}, "outputs"),
        ({**tensor("x"), "id": "\ud800"}, "id holds half a surrogate pair"),
        ({**tensor("x"), "id": 7}, "id is 7"),
        (tensor("x", parameters={"binary_data_size": 1}), "inputs[0].parameters is an object of 1, which"),
        (
            {**tensor("x"), "outputs": [{"name": "text", "parameters": 1}]},
            "outputs[0].parameters is 1, which",
        ),
    ],
)
def test_a_wrong_infer_request_is_a_400_with_one_error_string(
    shared: Running, ask: dict[str, Any], words: str
) -> None:
    response = shared.client.post(ROUTE, content=json.dumps(ask))
    assert response.status_code == 400, response.text
    assert words in response.json()["error"]


def test_fields_of_infer_that_nobody_documents_are_counted(shared: Running, embedding: Running) -> None:
    unknown = {"shoe": 1, "parameters": {"hat": 7}}
    for server, output in ((shared, "text"), (embedding, "embedding")):
        before = server.metric("skerry_ignored_fields_total")
        ask = {**tensor("x", parameters={}, coat=1), **unknown, "outputs": [{"name": output, "sock": 1}]}
        assert server.client.post(ROUTE, json=ask).status_code == 200
        assert server.metric("skerry_ignored_fields_total") == before + 4


@pytest.mark.parametrize(("route", "shape"), [("/v1/planted", dict), ("/v2/planted", str)])
def test_a_failure_of_the_server_is_a_500_in_the_format_of_its_route(route: str, shape: type) -> None:
    async def planted() -> None:
        raise ZeroDivisionError

    app = create_app(Models([State("m", "sha256:0", Engine(1))], Door(), Limits(), Metrics()))
    app.add_api_route(route, planted)

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.get(route)

    answer = asyncio.run(get())
    assert answer.status_code == 500 and "its log says where" in answer.text
    assert type(answer.json()["error"]) is shape


def test_a_version_that_the_metadata_lists_can_be_asked_for_and_no_other(shared: Running) -> None:
    card = shared.client.get(f"/v2/models/{NAME}").json()
    known, other = (f"/v2/models/{NAME}/versions/{version}" for version in (*card["versions"], "0"))
    assert shared.client.get(known).json() == card
    assert shared.client.get(f"{known}/ready").json() == {"name": NAME, "ready": True}
    assert shared.client.post(f"{known}/infer", json=tensor("x")).json()["model_name"] == NAME
    for answer in (
        shared.client.get(other),
        shared.client.get(f"{other}/ready"),
        shared.client.post(f"{other}/infer", json=tensor("x")),
    ):
        assert answer.status_code == 404 and card["versions"][0] in answer.json()["error"]


def test_infer_of_an_unknown_model_is_a_404(shared: Running) -> None:
    assert "not served here" in shared.client.post("/v2/models/other/infer", json=tensor("x")).json()["error"]


def test_the_official_client_gets_the_vectors_that_the_encoder_gives(
    embedding: Running, minilm: dict[str, Any]
) -> None:
    expected, tokens = encoder(minilm).embed(TEXTS)
    address = str(embedding.client.base_url.join("/v1"))
    with openai.OpenAI(base_url=address, api_key="none", timeout=HANG_SECONDS) as client:
        ask: Callable[..., Any] = client.embeddings.create
        for form in ({}, {"encoding_format": "float"}):  # told nothing, this client asks for base64
            answer = ask(model=NAME, input=TEXTS, **form)
            found = torch.tensor([item.embedding for item in answer.data])
            torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=0)
            assert answer.usage.prompt_tokens == tokens
    usage = {"gen_ai_operation_name": "embeddings", "gen_ai_token_type": "input"}
    counted = embedding.metric("gen_ai_client_token_usage_sum", **usage)
    assert counted >= 2 * tokens and counted == embedding.metric("skerry_prompt_tokens_total")


def test_infer_of_an_encoder_gives_a_vector_per_text(embedding: Running) -> None:
    card = embedding.client.get(f"/v2/models/{NAME}").json()
    assert card["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}]
    (output,) = embedding.client.post(ROUTE, json=tensor(*TEXTS)).json()["outputs"]
    assert output["shape"] == [len(TEXTS), 384] and len(output["data"]) == 384 * len(TEXTS)
    one = embedding.client.post("/v1/embeddings", json={"model": NAME, "input": TEXTS[0]}).json()
    # int8 is computed in another way for many tokens than for few: alike to three digits, not equal
    together, alone = torch.tensor(output["data"][:384]), torch.tensor(one["data"][0]["embedding"])
    torch.testing.assert_close(together, alone, atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", ""),
        ("input", []),
        ("input", [1, 2]),
        ("input", "word " * 300),
        ("encoding_format", "hex"),
        ("encoding_format", 0),
        ("dimensions", 64),
        ("dimensions", "384"),
    ],
)
def test_an_embedding_that_cannot_be_given_is_a_400_naming_the_field(
    embedding: Running, field: str, value: Any
) -> None:
    response = embedding.client.post("/v1/embeddings", json={"model": NAME, "input": "x", field: value})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field


def test_a_client_that_leaves_frees_the_encoder(embedding: Running) -> None:
    texts = ["word " * 250] * 2048
    with pytest.raises(httpx.ReadTimeout):
        embedding.client.post("/v1/embeddings", json={"model": NAME, "input": texts}, timeout=0.5)
    ended = "gen_ai_server_request_duration_seconds_count"
    until(lambda: embedding.metric(ended, error_type="client_left") == 1)
    again = {"model": NAME, "input": "x", "dimensions": 384}
    assert embedding.client.post("/v1/embeddings", json=again).status_code == 200


def test_each_kind_of_model_points_to_the_route_of_the_other(shared: Running, embedding: Running) -> None:
    wrong = shared.client.post("/v1/embeddings", json={"model": NAME, "input": "x"})
    assert wrong.status_code == 400 and "/v1/completions" in wrong.json()["error"]["message"]
    assert embedding.complete().status_code == 400
    assert "/v1/embeddings" in embedding.complete().json()["error"]["message"]
