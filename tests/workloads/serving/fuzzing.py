"""Requests that nobody would write, drawn by Hypothesis: any route and method, bodies from noise to nearly right."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.workloads.serving.serving import NAME, Running
from workloads.serving.openai import HONOURED, MEANINGLESS, NEUTRAL

ENCODER = "encoder"
FLAGS = ("--answer-tokens", "16", "--cache-mib", "1")
"""For the server that is asked: no answer takes long, and the cache, touched page by page, is full soon."""
LEAK = 2048
"""Bytes that memory may grow by with each request, measured after the first ones have warmed it up. Nothing is kept of
a request; what allocators keep does not grow with their number. Every leak of a body or an answer is larger."""
SLACK = 8 * 1024 * 1024
"""What allocators may keep more of after a larger request than all before."""

UNCHECKED = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
"""Of how requests are drawn: some are dear."""

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)  # halves of surrogate pairs too
NUMBERS = st.integers(-(2**70), 2**70) | st.integers(-2, 9) | st.floats() | st.floats(0, 2)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)
TENSOR = {"id": "x", "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}
RIGHT: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": NAME, "prompt": "x", "max_tokens": 2},
    "/v1/chat/completions": {"model": NAME, "messages": [{"role": "user", "content": "x"}], "max_tokens": 2},
    "/v1/embeddings": {"model": ENCODER, "input": "x"},
    f"/v2/models/{NAME}/infer": {**TENSOR, "parameters": {"max_tokens": 2}},
    f"/v2/models/{ENCODER}/infer": TENSOR,
}
FIELDS = sorted(HONOURED | NEUTRAL.keys() | MEANINGLESS | {"input", "inputs", "parameters", "outputs", "id"})
NEARLY = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(-1, 300),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "stop": st.text(min_size=1, max_size=3) | st.lists(st.text(min_size=1, max_size=3), max_size=4),
    "stream": st.booleans(),
    "stream_options": st.builds(dict, include_usage=st.booleans()),
    "max_tokens": st.integers(1, 16),
    "min_tokens": st.integers(0, 3),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "logit_bias": st.dictionaries(st.integers(0, 260).map(str), st.floats(-100, 100), max_size=3),
    "prompt": st.text(min_size=1) | st.lists(st.integers(0, 260), min_size=1),
}
"""Values that are mostly right."""
MOSTLY = st.sampled_from((True,) * 7 + (False,))
OTHER_PATHS = (
    "/",
    "/metrics",
    "/v1/models",
    f"/v1/models/{NAME}",
    "/v2",
    "/v2/health/ready",
    f"/v2/models/{NAME}",
)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@st.composite
def changed(draw: st.DrawFn, right: dict[str, Any]) -> bytes:
    """A right body with fields added, and sometimes a value at any depth replaced, one left out, or its end cut off."""
    body = json.loads(json.dumps(right))
    for name in draw(st.lists(st.sampled_from(FIELDS) | ANY_TEXT, max_size=2)):
        body[name] = draw(NEARLY.get(name, st.none()) if draw(MOSTLY) else JSON)
    harm = draw(st.sampled_from(("none", "none", "replace", "leave out", "cut")))
    if harm == "replace":
        holder, key = draw(st.sampled_from(list(_places(body))))
        holder[key] = draw(JSON)
    if harm == "leave out":
        del body[draw(st.sampled_from(sorted(body)))]
    raw = json.dumps(body).encode()
    return raw[: draw(st.integers(0, len(raw)))] if harm == "cut" else raw


def _places(value: Any) -> Any:
    """Every (container, key) inside `value`."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


HEADERS: list[str] = ["content-type", "accept", "authorization", "x-request-id", "traceparent"]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    method = draw(st.sampled_from(("POST",) * 18 + ("GET", "PUT", "HEAD", "DELETE", "OPTIONS", "BREW")))
    known = st.sampled_from([*RIGHT] * 8 + [*OTHER_PATHS])
    letters = st.characters(codec="ascii", categories=("L", "N", "P"), exclude_characters="?#")
    path = draw(known if draw(MOSTLY) else st.text(letters, max_size=20).map("/v1/{}".format))
    names = st.sampled_from(HEADERS)
    values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
    headers = draw(st.dictionaries(names, values, max_size=2))
    right = RIGHT.get(path, RIGHT["/v1/completions"])
    body = draw(changed(right) if draw(MOSTLY) else JSON.map(_dumped) | st.binary(max_size=40))
    return Request(method, path, headers, body)


@contextmanager
def asked(decoder: dict[str, Any], encoder: dict[str, Any]) -> Iterator[Running]:
    """A ready server of both published models; it is killed at the end."""
    models = [
        f"{name}={made['uri']}@{made['digest']}" for name, made in ((NAME, decoder), (ENCODER, encoder))
    ]
    server = Running("", "", ["--model", models[0], "--model", models[1], *FLAGS], {})
    try:
        yield server.wait_ready()
    finally:
        server.kill()


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def fuzz(server: Running, count: int, number: int) -> Counter[tuple[str, int]]:
    """Send `count` requests drawn from seed `number`; how often each (path of RIGHT or "", status) came.

    Raises AssertionError, with the smallest such request that was found, for an answer of status 5xx, and
    httpx.TransportError for none at all.
    """
    statuses: Counter[tuple[str, int]] = Counter()

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=UNCHECKED,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
    )
    @given(requests())
    def one(request: Request) -> None:
        url = httpx.URL(server.client.base_url, raw_path=request.path.encode())
        answer = server.client.request(request.method, url, headers=request.headers, content=request.body)
        statuses[request.path if request.path in RIGHT else "", answer.status_code] += 1
        assert answer.status_code < 500, f"{answer.status_code}: {answer.text[:200]}"

    one()
    return statuses
