"""A place for checkpoints: a folder or object prefix, by any address that fsspec reaches, with patience."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any, TypeVar

from fsspec.implementations.local import LocalFileSystem

from workloads.remote import open_address
from workloads.training.flags import ConfigError

Result = TypeVar("Result")

TRIES = 4
CLOCK = "clock"  # a file written only to learn the store's time


class Unreachable(Exception):
    """A store did not do what was asked of it, however often it was asked."""


def waits(patience: float) -> list[float]:
    """Seconds to wait after each of `TRIES` tries: doubling, `patience` in all, none after the last."""
    return [patience * 2**number / (2 ** (TRIES - 1) - 1) for number in range(TRIES - 1)] + [0.0]


def open_stores(*uris: str, patience: float) -> list["Store"]:
    """A store for each address that is not empty; nothing is reached yet. Raises ConfigError where none can be."""
    try:
        return [Store(uri, patience) for uri in uris if uri]
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"checkpoints, fallback: {error}; give a path, file://, s3:// or gs:// address, or install what serves it"
        ) from error


class Store:
    def __init__(self, uri: str, patience: float) -> None:
        """`uri` as given by the user; `patience` in seconds.

        Raises ValueError or ImportError when no file system serves such an address.
        """
        self.uri, self.patience = uri.rstrip("/"), patience
        self.files, self.root = open_address(self.uri)

    def within(self, name: str) -> str:
        """The address of something in the store, for those who open it themselves; a path where it is local."""
        return f"{self.root if isinstance(self.files, LocalFileSystem) else self.uri}/{name}"

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""

        def attempt() -> bytes | None:
            try:
                with self.files.open(f"{self.root}/{name}", "rb") as file:
                    return file.read()
            except FileNotFoundError:
                return None

        return self._patiently(f"read {name}", attempt)

    def read_json(self, name: str) -> Any:
        """The JSON value in a file; None where there is no file, or it is cut off."""
        try:
            return json.loads(self.read(name) or b"null")
        except ValueError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file; a reader sees what was there before or all of it, also after a power cut."""
        path = f"{self.root}/{name}"

        def attempt() -> None:
            if not isinstance(self.files, LocalFileSystem):
                self.files.pipe_file(path, content)  # an object appears whole
                return
            self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with open(f"{path}.partial", "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.partial", path)

        self._patiently(f"write {name}", attempt)

    def names(self, folder: str = "") -> list[str]:
        """What lies directly in a folder, sorted; nothing where there is no folder."""
        path = f"{self.root}/{folder}".rstrip("/")

        def attempt() -> list[str]:
            self.files.invalidate_cache()
            try:
                return sorted(
                    found.rstrip("/").rpartition("/")[2] for found in self.files.ls(path, detail=False)
                )
            except FileNotFoundError:
                return []

        return self._patiently(f"list {folder or 'it'}", attempt)

    def age(self, name: str) -> float:
        """Seconds since a file was written, infinite for none; by the store's clock, whatever this machine's says."""

        def attempt() -> float:
            self.write(CLOCK, b"now")
            now = self.files.modified(f"{self.root}/{CLOCK}")
            self.remove(CLOCK)
            try:
                return (now - self.files.modified(f"{self.root}/{name}")).total_seconds()
            except FileNotFoundError:
                return inf

        return self._patiently(f"tell the age of {name}", attempt)

    def remove(self, name: str) -> None:
        """Remove a file or folder; it may be gone already."""

        def attempt() -> None:
            with suppress(FileNotFoundError):
                self.files.rm(f"{self.root}/{name}", recursive=True)

        self._patiently(f"remove {name}", attempt)

    def digests(self, folder: str) -> dict[str, str]:
        """SHA-256 of each file in a folder, as the store gives its bytes back."""

        def digest(name: str) -> str:
            with self.files.open(f"{self.root}/{folder}/{name}", "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

        return {
            name: self._patiently(f"read {folder}/{name}", lambda name=name: digest(name))
            for name in self.names(folder)
        }

    def _patiently(self, what: str, attempt: Callable[[], Result]) -> Result:
        """Try `TRIES` times, or until the patience is over: clients of object stores also try again by themselves.

        Raises Unreachable with the last reason.
        """
        reason, began = None, time.monotonic()
        for seconds in waits(self.patience):
            try:
                return attempt()
            except Exception as error:  # every store has exceptions of its own
                reason = error
                if time.monotonic() - began > self.patience:
                    break
                time.sleep(seconds)
        raise Unreachable(
            f"{self.uri}: cannot {what}: {type(reason).__name__}: {reason}; look whether it is there and this machine "
            "may use it"
        ) from reason
