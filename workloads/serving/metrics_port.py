"""A port of its own for metrics, so that who may scrape a replica need not be able to send it requests."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/metrics"


class MetricsPort:
    """An application that answers `PATH` alone on one of its ports, and everything on the others.

    Args:
        app: answers what is let through.
        port: the port for metrics.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["server"][1] == self._port and scope["path"] != PATH:
            refusal = {"error": f"this port answers GET {PATH} only; send requests to --port"}
            await JSONResponse(refusal, 404)(scope, receive, send)
            return
        await self._app(scope, receive, send)
