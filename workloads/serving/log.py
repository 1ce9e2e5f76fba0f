"""Lines on stderr: one JSON object each, or plain words where a terminal is in front.

A request's text is never in one: no prompt, no answer, no path, no header, and no error that may quote them. Lines of
libraries come with their template only, since what is filled in may be a client's.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from workloads.serving.exchange import Exchange

NAME = "skerry"
QUIET = {
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{name}/ready",
    "/v2/models/{name}/versions/{version}/ready",
}
"""Routes that are asked every few seconds: their answers are no news, not ready ones neither."""


def configure() -> None:
    """From now on all lines of this process go to stderr in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Words() if sys.stderr.isatty() else _Json())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(NAME).setLevel(logging.INFO)
    logging.raiseExceptions = False  # a closed stderr costs the line, not the answer


def say(message: str, event: str = "note", level: int = logging.INFO, **fields: Any) -> None:
    """Tell what happens to the server; `fields` are JSON values."""
    logging.getLogger(NAME).log(level, message, extra={"event": event, "fields": fields})


def failure(what: str, error: BaseException) -> None:
    """Where `what` failed and the kind of error; not the error's message, which may quote a request."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-6:])
    where = " <- ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
    kind = type(error).__name__
    say(f"{what} failed: {kind} at {where}", "failure", logging.ERROR, error=kind, where=where)


def access(told: Exchange) -> None:
    """One line for an exchange that has ended."""
    if told.route in QUIET and not told.error:
        return
    seconds = round(told.ended - told.began, 4)
    first = None if told.first is None else round(told.first - told.began, 4)
    say(
        f"{told.route} {told.status} {told.error or 'ok'} {told.model} "
        f"{told.prompt_tokens}+{told.output_tokens} tokens {seconds:.3f} s",
        "request",
        request_id=told.id,
        trace_id=told.trace_id,
        route=told.route,
        status=told.status,
        error=told.error,
        model=told.model,
        version=told.version,
        operation=told.operation,
        finish_reason=told.finish_reason,
        prompt_tokens=told.prompt_tokens,
        output_tokens=told.output_tokens,
        first_token_seconds=first,
        seconds=seconds,
    )


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        ours = record.name == NAME
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "note") if ours else record.name,
            "message": record.msg,
        }
        return json.dumps(line | getattr(record, "fields", {}), ensure_ascii=False)


class _Words(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"server: {record.msg}"
