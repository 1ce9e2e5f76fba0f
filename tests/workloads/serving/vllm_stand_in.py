"""Stands in for `vllm serve`: engine torch behind the socket and the routes of vLLM that the front uses.

    python -m tests.workloads.serving.vllm_stand_in serve FOLDER --uds SOCKET ...

It knows no more arguments than vLLM is given, reads the folder that it is given, and answers with the artifact that
STAND_IN (its URI and digest) names. `make vllm` runs the same tests with vLLM itself.
"""

import argparse
import os
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from safetensors import safe_open

from workloads.serving.app import create_app
from workloads.serving.auth import Door
from workloads.serving.engine import Engine
from workloads.serving.limits import Limits
from workloads.serving.loading import How, load
from workloads.serving.models import Models
from workloads.serving.state import State

NAMES = {
    "skerry_prompt_tokens": "vllm:prompt_tokens",
    "skerry_generated_tokens": "vllm:generation_tokens",
    "skerry_requests_running": "vllm:num_requests_running",
    "skerry_requests_waiting": "vllm:num_requests_waiting",
}
BREAKS = "STAND_IN_BREAKS"  # set: streams break as vLLM lets one break: an error, then an end as of any other


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("serve")
    parser.add_argument("folder", type=Path)
    for flag in ("uds", "served-model-name", "max-num-seqs", "dtype", "load-format", "generation-config"):
        parser.add_argument(f"--{flag}", required=True)
    parser.add_argument("--no-enable-log-requests", action="store_true")
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--kv-cache-memory-bytes")
    args = parser.parse_args()
    with safe_open(args.folder / "model.safetensors", "pt") as weights:
        assert "model.norm.weight" in weights.keys()  # noqa: SIM118  no mapping
    between = socket.socket(socket.AF_UNIX)  # vLLM's processes talk over such, and leave them lying about
    between.bind(f"{tempfile.gettempdir()}/{uuid.uuid4()}")
    uri, digest = os.environ["STAND_IN"].split()
    state = State(args.served_model_name, digest, Engine(1000, int(args.max_num_seqs)))
    load(
        [(state, Path(uri.removeprefix("file://")))],
        How(1, 256, 1000, device="cpu"),
        lambda: True,
        lambda: 0.0,
    )
    uvicorn.run(app(state), uds=args.uds, access_log=False, log_level="warning")


def app(state: State) -> FastAPI:
    outer = FastAPI()

    @outer.get("/health")
    async def health() -> Response:
        return Response()

    @outer.get("/metrics")
    async def metrics() -> Response:
        text = state.metrics.text().decode()
        for ours, theirs in NAMES.items():
            text = text.replace(ours, theirs)
        return Response(text)

    if os.environ.get(BREAKS):

        @outer.post("/v1/completions")
        async def breaks(request: Request) -> Response:
            if not (await request.json()).get("stream"):
                return Response("{}", media_type="application/json")
            return StreamingResponse(broken(), media_type="text/event-stream")

    outer.mount("/", create_app(Models([state], Door(), Limits(), state.metrics)))
    return outer


async def broken() -> AsyncIterator[str]:
    yield 'data: {"choices": [{"index": 0, "text": "a", "finish_reason": null}]}\n\n'
    yield 'data: {"error": {"message": "the engine broke"}}\n\n'
    yield "data: [DONE]\n\n"


if __name__ == "__main__":
    main()
