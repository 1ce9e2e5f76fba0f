"""`File`: a text file, replaced by rename so that a reader sees the old one or the new one, never half."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from components.local.provider.lifecycle import Change, Context
from components.local.provider.values import UNKNOWN, Properties

INPUTS = ("path", "content")


class FileLifecycle:
    def __init__(self, context: Context) -> None:
        self.root = context.root

    def check(self, inputs: Properties, state: Properties | None) -> tuple[Properties, dict[str, str]]:
        path = inputs.get("path", "")
        if path != UNKNOWN and not self._resolve(path).is_relative_to(self.root / ".skerry"):
            return inputs, {
                "path": f"path: {path!r}. A File lies below .skerry/ of the project, so that `make down` "
                "can take everything away. Give a path such as .skerry/etc/NAME."
            }
        return inputs, {}

    def diff(self, state: Properties, inputs: Properties) -> Change:
        changed = tuple(key for key in INPUTS if state.get(key) != inputs.get(key))
        return Change(changed, tuple(key for key in changed if key == "path"))

    def preview(self, state: Properties | None, inputs: Properties) -> Properties:
        return {key: inputs.get(key) for key in INPUTS}

    def create(self, urn: str, inputs: Properties) -> tuple[str, Properties]:
        return inputs["path"], self.update(urn, {}, inputs)

    def read(self, state: Properties) -> Properties | None:
        try:
            return {**state, "content": self._resolve(state["path"]).read_text(errors="replace")}
        except FileNotFoundError:
            return None

    def update(self, urn: str, state: Properties, inputs: Properties) -> Properties:
        replace_file(self._resolve(inputs["path"]), inputs["content"])
        return {key: inputs[key] for key in INPUTS}

    def delete(self, state: Properties) -> None:
        path = self._resolve(state["path"])
        path.unlink(missing_ok=True)
        remove_empty_parents(path, below=self.root)

    def _resolve(self, path: str) -> Path:
        return Path(os.path.normpath(self.root / path))


def replace_file(path: Path, content: str) -> None:
    """Writes a file beside its place and renames it there; folders above are made."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_empty_parents(path: Path, below: Path) -> None:
    """Removes the folders above `path` that became empty, up to and without `below`."""
    for parent in path.parents:
        if parent == below or not parent.is_relative_to(below):
            return
        try:
            parent.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return
