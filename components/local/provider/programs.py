"""One supervised program: what is run, its definition as supervisord reads it, and whether it responds."""

from __future__ import annotations

import contextlib
import http.client
import re
import shlex
import urllib.error
import urllib.request
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

# A program that ends sooner than this after its start is retried with growing pauses, then given up.
START_SECONDS = 5
START_RETRIES = 3
# Exit status of a program that must not be started again: what it was given is refused for good.
REFUSED = 3


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    stop_seconds: int
    """Seconds between SIGTERM and SIGKILL when it is stopped."""
    port: int
    """Port that it listens on, on loopback."""
    ready: str
    """URL that answers 200 when it may get traffic. Any answer shows that it does not hang."""
    revision: str
    """Digest of what it runs: equal revisions need no restart."""


@dataclass(frozen=True)
class Header:
    """What a stored definition says in comments, beside what supervisord reads. Those of earlier versions say less."""

    revision: str
    port: int | None
    ready: str


def render(program: Program, root: Path) -> str:
    """The definition of a program whose working directory is `root`."""
    # The kernel ends a program when its supervisor dies: no orphan holds a port.
    command = shlex.join(["setpriv", "--pdeathsig", "KILL", "--", *program.command])
    environment = ",".join(f"{key}={_quoted(value)}" for key, value in sorted(program.environment.items()))
    lines = {
        "command": command,
        "directory": str(root),
        "environment": environment,
        "autostart": "true",
        "autorestart": "unexpected",
        "exitcodes": str(REFUSED),
        "startsecs": str(START_SECONDS),
        "startretries": str(START_RETRIES),
        "stopsignal": "TERM",
        "stopwaitsecs": str(program.stop_seconds),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"logs/{program.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "1",
    }
    body = "\n".join(f"{key} = {value.replace('%', '%%')}" for key, value in lines.items())
    head = f"; revision {program.revision}\n; port {program.port}\n; ready {program.ready}\n"
    return f"{head}[program:{program.name}]\n{body}\n"


def header(definition: str) -> Header:
    """The header of a stored definition."""
    found = dict(re.findall(r"^; (revision|port|ready) (\S+)$", definition, re.MULTILINE))
    port = found.get("port")
    return Header(found.get("revision", ""), int(port) if port else None, found.get("ready", ""))


def header_of(file: Path) -> Header | None:
    """The header of the definition in a file; None where there is no file."""
    with contextlib.suppress(FileNotFoundError):
        return header(file.read_text())
    return None


def stop_seconds(definition: str) -> int:
    """Seconds that a stored definition gives its program between SIGTERM and SIGKILL."""
    found = re.search(r"^stopwaitsecs = (\d+)$", definition, re.MULTILINE)
    return int(found[1]) if found else 0


class Answer(Enum):
    """What a program answers at its URL."""

    READY = "200"
    NOT_READY = "another status"
    NONE = "no answer in time: it hangs, or the machine has no time for it"
    REFUSED = "no connection: nothing listens there"


def ask(url: str, seconds: float = 2.0) -> Answer:
    """What a program answers within so many seconds."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:
            return Answer.READY if response.status == 200 else Answer.NOT_READY
    except urllib.error.HTTPError:
        return Answer.NOT_READY
    except TimeoutError:
        return Answer.NONE
    except urllib.error.URLError as error:
        return Answer.NONE if isinstance(error.reason, TimeoutError) else Answer.REFUSED
    except (OSError, http.client.HTTPException):
        return Answer.REFUSED


def hangs(url: str, seconds: float, tries: int) -> bool:
    """Whether a program answers none of so many requests, each within so many seconds, although it listens."""
    return all(ask(url, seconds) is Answer.NONE for _ in range(tries))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
