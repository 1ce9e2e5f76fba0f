"""How torch.distributed.checkpoint writes to a store and reads from it.

Two things are ours. A file of an object store is not renamed, which some stores only pretend to do: it is copied. And
what goes wrong at one worker becomes an OSError in words before torch tells the other workers: not every error of the
stores' clients can be sent to another process, and one that cannot would leave the others waiting.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.distributed.checkpoint.fsspec_filesystem import FsspecReader, FsspecWriter
from torch.distributed.checkpoint.metadata import Metadata

from workloads.remote import FRESH, is_remote


class Writer(FsspecWriter):
    def __init__(self, address: str) -> None:
        options: Any = FRESH
        super().__init__(address, **options)
        if is_remote(address):
            self.fs.rename = self._move

    def prepare_local_plan(self, plan: Any) -> Any:
        with in_words():
            return super().prepare_local_plan(plan)

    def write_data(self, plan: Any, planner: Any) -> Any:
        with in_words():
            return super().write_data(plan, planner)

    def finish(self, metadata: Metadata, results: Any) -> None:
        with in_words():
            super().finish(metadata, results)

    def _move(self, path: Any, new_path: Any) -> None:
        files: Any = self.fs.fs
        files.cp_file(path, new_path)
        files.rm_file(path)


class Reader(FsspecReader):
    def __init__(self, address: str) -> None:
        super().__init__(address, **FRESH)

    def read_metadata(self, *given: Any, **more: Any) -> Metadata:
        with in_words():
            return super().read_metadata(*given, **more)

    def read_data(self, plan: Any, planner: Any) -> Any:
        with in_words():
            return super().read_data(plan, planner)


@contextmanager
def in_words() -> Iterator[None]:
    """Raise any error as an OSError that tells its root."""
    try:
        yield
    except Exception as error:
        raise OSError(reason(error)) from None


def reason(error: BaseException) -> str:
    """The root of an error in a few words; torch and the stores' clients wrap it in their own."""
    while True:
        failures = getattr(error, "failures", None)
        inner = next(iter(failures.values()))[0] if failures else error.__cause__
        if not isinstance(inner, BaseException) and not error.__suppress_context__:
            inner = error.__context__
        if not isinstance(inner, BaseException):
            words = f"{type(error).__name__}: {error}"
            return str(error) if type(error) is OSError and error.errno is None else words
        error = inner


def hush() -> None:
    """Keep torch from warning of what is meant here; for a program to call, once."""
    for message in (
        "torch.distributed is disabled",  # one process is no mistake
        "Detected an existing checkpoint",  # a flush that is tried again overwrites what the failed one left
        "fsync not supported for this stream",  # an object is there when its writing ends
    ):
        warnings.filterwarnings("ignore", message=message)
