"""The Open Inference Protocol (version 2, REST): metadata, readiness and inference, text in and text or vectors out."""

from itertools import chain
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from workloads.serving.answers import accept, whole
from workloads.serving.bodies import body
from workloads.serving.embeddings import embed, texts_of
from workloads.serving.exchange import exchange
from workloads.serving.models import Models
from workloads.serving.openai import read
from workloads.serving.protocol import ApiError, json_object, kind, refuse, whole_text, wrong
from workloads.serving.state import State

MODEL = "/v2/models/{name:path}"
VERSION = MODEL + "/versions/{version}"
FIELDS = {"id", "inputs", "parameters", "outputs"}
INPUT = {"name", "datatype", "shape", "data", "parameters"}
OUTPUT = {"name", "parameters"}
"""Documented, of a request to infer and of the tensors in it."""
NEUTRAL: dict[str, tuple[object, ...]] = {"parameters": ({},)}
"""Documented, and of a tensor not honoured."""
NOT_PARAMETERS = (
    "model",
    "prompt",
    "messages",
    "stream",
    "stream_options",
)  # said elsewhere, or have no place here


def routes(models: Models) -> APIRouter:
    router = APIRouter()

    @router.get("/v2")
    async def server() -> Response:
        return JSONResponse({"name": "skerry", "version": models.version, "extensions": []})

    @router.get(MODEL)
    @router.get(VERSION)
    async def metadata(request: Request) -> Response:
        state = model(models, request)
        loaded = state.require()
        size = loaded.vector_size
        vectors = {"name": "embedding", "datatype": "FP32", "shape": [-1, size]}
        text = {"name": "text", "datatype": "BYTES", "shape": [1]}
        return JSONResponse(
            {
                "name": state.name,
                "versions": [state.version],
                "platform": "skerry_vllm" if state.vllm else "skerry_torch",
                "inputs": [{**text, "shape": [-1]} if size else text],
                "outputs": [vectors if size else text],
            }
        )

    @router.post(f"{MODEL}/infer")
    @router.post(f"{VERSION}/infer")
    async def infer(request: Request) -> Response:
        ask = json_object(await body(request, models))
        echoed = _id(ask.get("id"))
        state = model(models, request)
        loaded = state.require()
        texts = _texts(ask.get("inputs"))
        parameters = {} if ask.get("parameters") is None else ask["parameters"]
        if not isinstance(parameters, dict):
            raise wrong("parameters", parameters, 'an object such as {"max_tokens": 16}')
        _check_outputs(ask.get("outputs"), "embedding" if loaded.vector_size else "text")
        if loaded.vector_size:
            vectors, tokens = await embed(state, texts, request)
            output = _tensor("embedding", "FP32", [len(texts), loaded.vector_size], list(chain(*vectors)))
            facts: dict[str, Any] = {"prompt_tokens": tokens}
        else:
            text, facts = await _continue(texts, parameters, state, request)
            output = _tensor("text", "BYTES", [1], [text])
        models.metrics.ignored(
            exchange(request), _unknown(ask) + (len(parameters) if loaded.vector_size else 0)
        )
        answer = {
            "model_name": state.name,
            "model_version": state.version,
            "parameters": facts,
            "outputs": [output],
        }
        return JSONResponse(answer | echoed)

    return router


def model(models: Models, request: Request) -> State:
    """The model that the path names. Raises ApiError(404), also for a version that is not served."""
    state, version = models.get(request.path_params["name"]), request.path_params.get("version")
    if version not in (None, state.version):
        message = (
            f"model {state.name!r} is served in version {state.version}, no other; leave the version out"
        )
        raise ApiError(404, message, code="version_not_found")
    return state


async def _continue(
    texts: list[str], parameters: dict[str, Any], state: State, request: Request
) -> tuple[str, dict[str, Any]]:
    """The text that goes on after the one of `texts`, and how it ended. Parameters are those of /v1/completions."""
    if len(texts) != 1:
        raise ApiError(
            400,
            f"inputs[0] holds {len(texts)} texts; this model takes one per request",
            "inputs",
            code="invalid_value",
        )
    for field in NOT_PARAMETERS:
        if field in parameters:
            message = f"parameters.{field} is set, but has no meaning in infer; leave it out"
            raise ApiError(400, message, field, code="unsupported_field")
    fields = {**parameters, "model": state.name, "prompt": texts[0]}
    if state.vllm is not None:
        from workloads.serving.vllm.front import continued  # only where its HTTP client is wanted

        return await continued(fields, state, request)
    job = await accept(read(fields, chat=False), state, request)
    text, last = await whole(job, state, request)
    return text, {
        "finish_reason": last.finish_reason,
        "prompt_tokens": len(job.prompt),
        "completion_tokens": last.tokens,
    }


def _id(value: Any) -> dict[str, str]:
    """The client's own name of a request, for its answer. Raises ApiError(400) for one that cannot be sent back."""
    if value is None:
        return {}
    if not isinstance(value, str):
        raise wrong("id", value, "a string, or left out")
    return {"id": whole_text("id", value)}


def _texts(inputs: Any) -> list[str]:
    """The data of the one input tensor. Raises ApiError(400) for another name, datatype, or shape."""
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise wrong("inputs", inputs, "a list of one tensor: name text, datatype BYTES, shape [1], data")
    tensor = inputs[0]
    for field, expected in (("name", "text"), ("datatype", "BYTES")):
        if tensor.get(field) != expected:
            raise wrong(f"inputs[0].{field}", tensor.get(field), expected)
    data = tensor.get("data")
    texts = texts_of("inputs[0].data", data)
    refuse(tensor, NEUTRAL, "inputs[0].")
    if tensor.get("shape") != [len(texts)]:
        shape = tensor.get("shape")
        given = (
            shape
            if isinstance(shape, list) and len(shape) < 5 and all(type(n) is int for n in shape)
            else kind(shape)
        )
        message = (
            f"inputs[0].shape is {given}, but data holds {len(texts)} texts; shape must be [{len(texts)}]"
        )
        raise ApiError(400, message, "inputs[0].shape", code="invalid_value")
    return texts


def _check_outputs(outputs: Any, name: str) -> None:
    if outputs is None:
        return
    if not isinstance(outputs, list) or not all(
        isinstance(one, dict) and one.get("name") == name for one in outputs
    ):
        raise wrong("outputs", outputs, f'left out, or [{{"name": "{name}"}}]')
    for index, one in enumerate(outputs):
        refuse(one, NEUTRAL, f"outputs[{index}].")


def _unknown(ask: dict[str, Any]) -> int:
    """How many fields of `ask`, which was read, nobody documents; parameters count where they are read."""
    unknown = [ask.keys() - FIELDS, *(one.keys() - INPUT for one in ask["inputs"])]
    return sum(map(len, unknown + [one.keys() - OUTPUT for one in ask.get("outputs") or []]))


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}
