"""Lines on stderr. A request's text is never in one: no prompt, no answer, no error quoting them."""

import sys
import traceback


def say(line: str) -> None:
    print(f"server: {line}", file=sys.stderr, flush=True)


def failure(what: str, error: BaseException) -> None:
    """Where `what` failed and the kind of error; not the error's message, which may quote a request."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-6:])
    where = " <- ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
    say(f"{what} failed: {type(error).__name__} at {where}")
