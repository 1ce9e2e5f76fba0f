"""Install what is missing, once: python3 -m tools.setup [toolkit] [workloads] [engine] (default: all three).

Everything goes to `.tools/` in the clone; nothing is done twice, and an interrupted set-up is completed by
the next. Standard library only. Progress goes to stderr.
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager

from tools import prerequisites

PARTS = prerequisites.ALL_PARTS


def missing(parts):
    """The parts that are not complete, in the order of their installation."""
    from tools import engine, environments

    done = {
        "toolkit": lambda: environments.complete(environments.TOOLKIT),
        "workloads": lambda: environments.complete(environments.WORKLOADS),
        "engine": engine.complete,
    }
    return [part for part in PARTS if part in parts and not done[part]()]


def install(part):
    """Install one part."""
    from tools import engine, environments

    if part == "engine":
        engine.ensure()
    else:
        environments.ensure(environments.TOOLKIT if part == "toolkit" else environments.WORKLOADS)


@contextmanager
def alone():
    """Only one set-up of a clone at a time; a second one waits."""
    import fcntl

    from tools.paths import MADE
    from tools.progress import say

    MADE.mkdir(parents=True, exist_ok=True)
    with (MADE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this clone is running: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(parts):
    """Check the machine, then install what is missing. torch is fetched while the engine is built."""
    from concurrent.futures import ThreadPoolExecutor

    from tools.paths import MADE
    from tools.problem import Problem
    from tools.progress import say

    absent = missing(parts)
    if not absent:
        return
    if MADE.is_symlink():
        # A copy of the tree, made by a test, that borrows what was installed for the original.
        owner = MADE.resolve().parent
        raise Problem(
            f"{', '.join(absent)} is not set up in the borrowed {MADE.resolve()}", f"make up in {owner}"
        )
    failed = [finding for finding in prerequisites.required(tuple(parts)) if not finding.ok]
    if failed:
        what = "this machine lacks something:\n" + "\n".join(finding.line() for finding in failed)
        raise Problem(what, "see each cure above; `python3 -m tools.doctor` lists all checks")
    with alone():
        todo = missing(parts)  # another set-up may have done it meanwhile
        if not todo:
            return
        say(f"setting up {', '.join(todo)} in .tools (once)")
        began = time.monotonic()
        # The environments one after the other, the engine beside them: the one waits for the network, the
        # other for the processor.
        with ThreadPoolExecutor(max_workers=2) as pool:
            environments = [part for part in todo if part != "engine"]
            jobs = [pool.submit(lambda: [install(part) for part in environments])]
            jobs += [pool.submit(install, "engine")] if "engine" in todo else []
        problems = [error for job in jobs if (error := job.exception())]
        for problem in problems[1:]:
            say(f"error: {problem}")
        if problems:
            raise problems[0]
        say(f"set up in {time.monotonic() - began:.0f} s")


def main(argv=None):
    """Set up the parts named, or all."""
    parts = list(sys.argv[1:] if argv is None else argv) or list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        print(f"error: no part {unknown[0]!r}; the parts are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    # Before any other import: an old Python must get this far.
    python = prerequisites.check_python()
    if not python.ok:
        print(python.line(), file=sys.stderr)
        return 1
    from tools.problem import Problem

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        set_up(parts)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to complete it", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
