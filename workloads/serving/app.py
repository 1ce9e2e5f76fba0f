"""The application: all routes, health and metrics, errors in the format of their route, and the books."""

import time

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workloads.serving import completions, embeddings, log, oip
from workloads.serving.exchange import CLIENT_LEFT, begin, exchange
from workloads.serving.models import Models
from workloads.serving.protocol import ApiError, cut
from workloads.serving.traces import Traces

NO_ANSWER = 499  # counted as status where no answer could be sent
KNOWN = (
    "POST /v1/completions, /v1/chat/completions, /v1/embeddings, /v2/models/NAME/infer, "
    "GET /v1/models, /v2, /v2/models/NAME, /v2/health/live, /v2/health/ready, /metrics"
)
HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}
"""Status of what the framework refuses -> code; any other one is `invalid_request`."""
PROBE = ["GET", "HEAD"]  # some load balancers ask for the head only


def create_app(models: Models, traces: Traces | None = None) -> FastAPI:
    """The application over `models`; it answers before one is loaded, and says so."""
    # no redirects either: behind a gateway they would lead a prompt and its key to plain HTTP
    app = FastAPI(
        title="Skerry serving", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.add_middleware(_Account, models=models, traces=traces)

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> JSONResponse:
        exchange(request).fail(error.code)
        return _refusal(request, error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{error.detail}: {request.method} {cut(request.url.path)}; there are {KNOWN}"
        code = HTTP_CODES.get(error.status_code, "invalid_request")
        exchange(request).fail(code)
        refused = ApiError(error.status_code, message, code=code, headers=dict(error.headers or {}))
        return _refusal(request, refused)

    @app.api_route("/v2/health/live", methods=PROBE)
    async def live() -> Response:
        return JSONResponse({"live": True})

    @app.api_route("/v2/health/ready", methods=PROBE)
    async def ready() -> Response:
        return JSONResponse({"ready": models.ready}, 200 if models.ready else 503)

    @app.get(f"{oip.MODEL}/ready")
    @app.get(f"{oip.VERSION}/ready")  # registered first: the other one would take it for a part of the name
    async def model_ready(request: Request) -> Response:
        state = oip.model(models, request)
        return JSONResponse({"name": state.name, "ready": state.ready}, 200 if state.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        models.metrics.ready.set(int(models.ready))
        return Response(await _metrics(models), media_type="text/plain; version=0.0.4")

    for part in (
        completions,
        embeddings,
        oip,
    ):  # last: a model's name may hold slashes, and so any other path
        app.include_router(part.routes(models), dependencies=[Depends(models.door.admit)])
    return app


async def _metrics(models: Models) -> bytes:
    beside = [await state.vllm.metrics() for state in models.states if state.vllm]
    return models.metrics.text() + "".join(beside).encode()


def _refusal(request: Request, error: ApiError) -> JSONResponse:
    """In the format of the route: the Open Inference Protocol knows one string."""
    simple = request.url.path.startswith("/v2")
    return JSONResponse(
        {"error": str(error)} if simple else error.body(), error.status, headers=error.headers
    )


class _Account:
    """Tells of answers, names the model version in each, and ends a generation that nobody waits for."""

    def __init__(self, app: ASGIApp, models: Models, traces: Traces | None) -> None:
        self._app = app
        self._models = models
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = begin(scope)
        status = 0  # nothing answered yet

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                names = {"x-request-id": told.id} | self._models.headers(told)
                if self._models.draining:  # or the next request could meet the end on its way
                    names["connection"] = "close"
                named = [(key.encode(), value.encode()) for key, value in names.items()]
                message["headers"] = [*message["headers"], *named]
            await send(message)

        self._models.open_answers += 1
        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            told.fail(CLIENT_LEFT)  # while sending its request: nobody to answer
        except completions.BrokenAnswer:
            pass  # told already; returning without an end makes the connection close
        except Exception as error:
            log.failure("a request", error)
            told.fail(type(error).__name__)
            if status == 0:
                message = "this server failed on the request; its log says where"
                broken = ApiError(500, message, code="internal_error")
                await _refusal(Request(scope), broken)(scope, receive, send_named)
        finally:
            self._models.open_answers -= 1
            # health and metrics are asked all the time, and what is wrong or forbidden holds no drain
            if scope["method"] == "POST" and not 400 <= status < 500:
                self._models.asked_at = time.monotonic()
            if told.job is not None and not told.job.finished:  # the client left, or this answer broke
                self._models.cancel(told)
                told.fail(CLIENT_LEFT)
            told.end(getattr(scope.get("route"), "path_format", "unknown"), status or NO_ANSWER)
            if self._traces is not None:
                self._traces.hear(told, scope)
            self._models.metrics.hear(told)
            log.access(told)
