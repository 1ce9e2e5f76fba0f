"""`Task`: a command that runs to its end once for everything that it depends on.

The digest covers `key` and the content of `sources`, not the command line or the machine: a clone that is moved,
or a run with other threads, repeats no training. What the command left in its output folder is remembered by
content, so a refresh notices a file that was lost or altered and the next `up` makes it again. The state names
the output's place relative to the project; the absolute URI that others get is made from it on every read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from components.local.provider.daemon import clean_environment
from components.local.provider.digests import (
    digest_of_file,
    digest_of_folder,
    digest_of_sources,
    folder_of,
)
from components.local.provider.file import remove_empty_parents
from components.local.provider.lifecycle import Change, Context, ResourceError
from components.local.provider.values import UNKNOWN, Properties, has_unknown

INPUTS = (
    "program",
    "command",
    "environment",
    "key",
    "sources",
    "outputParent",
    "result",
    "timeoutSeconds",
)
LOG_LINES = 40
VERSION_DIGITS = 12


class TaskLifecycle:
    def __init__(self, context: Context) -> None:
        self.context = context

    def check(self, inputs: Properties, state: Properties | None) -> tuple[Properties, dict[str, str]]:
        parent = inputs.get("outputParent", "")
        if not has_unknown(parent):
            if "://" in parent and not parent.startswith("file://"):
                return inputs, {
                    "outputParent": f"outputParent: {parent!r}. A Task leaves its output on this machine. Give a "
                    "file:// URI or a path relative to the project."
                }
            inputs = {**inputs, "outputParent": self._relative(parent)}
        if has_unknown([inputs.get("key"), inputs.get("sources")]):
            return {**inputs, "digest": UNKNOWN}, {}
        try:
            sources = digest_of_sources(self.context.root, inputs.get("sources") or [])
        except FileNotFoundError as error:
            return inputs, {"sources": f"{error} Restore the files or correct the pattern."}
        key = json.dumps([inputs.get("key"), sources], sort_keys=True)
        return {**inputs, "digest": hashlib.sha256(key.encode()).hexdigest()}, {}

    def diff(self, state: Properties, inputs: Properties) -> Change:
        if state.get("digest") != inputs.get("digest"):
            return Change(("digest",), ("digest",))
        state = {**state, "outputParent": self._relative(state.get("outputParent", ""))}
        if state["outputParent"] != inputs.get("outputParent"):
            return Change(("outputParent",), ("outputParent",))
        # The same work described differently, or lying elsewhere since the project was moved, is recorded; it is not
        # done again.
        changed = [key for key in INPUTS if state.get(key) != inputs.get(key)]
        if state.get("output") != self._output(inputs):
            changed.append("output")
        return Change(tuple(changed))

    def preview(self, state: Properties | None, inputs: Properties) -> Properties:
        known = {key: inputs.get(key) for key in (*INPUTS, "digest")}
        made = {
            key: state[key] if state else UNKNOWN for key in ("outcome", "checksum", "content", "seconds")
        }
        return {**known, "output": self._output(inputs), **made}

    def create(self, urn: str, inputs: Properties) -> tuple[str, Properties]:
        output = self._output(inputs)
        log = self.context.root / ".skerry" / "run" / "tasks" / f"{inputs['program']}.log"
        temporary = log.with_suffix(".tmp")
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(temporary, ignore_errors=True)  # of a run whose provider was killed
        # With parents: the end of another task may have removed the empty folder above meanwhile.
        temporary.mkdir(mode=0o700, parents=True)
        began = time.monotonic()
        # What lies there was lost or altered, else it would still be in the state.
        shutil.rmtree(folder_of(output), ignore_errors=True)
        try:
            status = self._run(urn, inputs, output, log, temporary)
            if status != 0:
                raise self._failure(inputs, log, f"ended with status {status}")
            outcome = self._outcome(inputs, folder_of(output), log)
            checksum = f"sha256:{digest_of_file(folder_of(output) / inputs['result'])}"
        except BaseException:
            shutil.rmtree(folder_of(output), ignore_errors=True)
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        log.unlink()
        remove_empty_parents(log, below=self.context.root)
        state = {key: inputs.get(key) for key in (*INPUTS, "digest")}
        content = digest_of_folder(folder_of(output))
        seconds = round(time.monotonic() - began, 1)
        return inputs["digest"][:VERSION_DIGITS], {
            **state,
            "output": output,
            "outcome": outcome,
            "checksum": checksum,
            "content": content,
            "seconds": seconds,
        }

    def read(self, state: Properties) -> Properties | None:
        output = self._output(state)
        content = digest_of_folder(folder_of(output))
        return {**state, "output": output} if content == state["content"] else None

    def update(self, urn: str, state: Properties, inputs: Properties) -> Properties:
        return {**state, **{key: inputs.get(key) for key in INPUTS}, "output": self._output(inputs)}

    def delete(self, state: Properties) -> None:
        folder = folder_of(self._output(state))
        shutil.rmtree(folder, ignore_errors=True)
        remove_empty_parents(folder, below=self.context.root)

    def _run(self, urn: str, inputs: Properties, output: str, log: Path, temporary: Path) -> int:
        command = [word.replace("{output}", output) for word in inputs["command"]]
        guardian = [sys.executable, "-m", "components.local.provider.guardian", str(os.getpid())]
        package_root = Path(__file__).resolve().parents[3]
        deadline = time.monotonic() + inputs["timeoutSeconds"]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                # The guardian is found from the project; what it runs starts in the provider's root.
                ["env", "-C", str(package_root), *guardian, "env", "-C", str(self.context.root), *command],
                env={
                    **clean_environment(),
                    "TMPDIR": str(temporary),  # torchrun leaves folders there
                    **(inputs.get("environment") or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        try:
            shown = ""
            while process.poll() is None:
                if self.context.cancelled.wait(0.2):
                    raise ResourceError(f"{inputs['program']}: interrupted; the next `up` runs it again.")
                if time.monotonic() > deadline:
                    raise self._failure(
                        inputs,
                        log,
                        f"took longer than {inputs['timeoutSeconds']} s and was ended. Give it less to do (a training "
                        "run: fewer `steps`) or more time (`timeoutSeconds`)",
                    )
                line = _last_line(log)
                if line and line != shown:
                    shown = line
                    self.context.report(urn, line)
            return process.returncode
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()

    def _outcome(self, inputs: Properties, folder: Path, log: Path) -> Properties:
        result = folder / inputs["result"]
        try:
            return json.loads(result.read_text())
        except (OSError, ValueError) as error:
            raise self._failure(inputs, log, f"left no readable {inputs['result']} ({error})") from None

    def _failure(self, inputs: Properties, log: Path, what: str) -> ResourceError:
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return ResourceError(
            f"{inputs['program']} {what}. Its log is {log.relative_to(self.context.root)}; it ends:\n"
            + "\n".join(f"    {line}" for line in lines or ["(empty)"])
        )

    def _output(self, inputs: Properties) -> str:
        if has_unknown([inputs.get("digest"), inputs.get("outputParent")]):
            return UNKNOWN
        parent = self._folder(inputs["outputParent"])
        return (parent / inputs["digest"][:VERSION_DIGITS]).as_uri()

    def _folder(self, place: str) -> Path:
        """The folder that a file:// URI or a path relative to the project names."""
        return folder_of(place) if place.startswith("file://") else self.context.root / place

    def _relative(self, place: str) -> str:
        """What stands in the state: relative to the project, so that the project may be moved."""
        folder, root = self._folder(place), self.context.root
        return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.as_uri()


def _last_line(log: Path) -> str:
    """The last whole line of a log that is being written."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4096))
        lines = stream.read().decode(errors="replace").split("\n")
    return lines[-2].strip()[:200] if len(lines) > 1 else ""
