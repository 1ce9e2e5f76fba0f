"""How torch.distributed.checkpoint writes to a store and reads from it.

Three things are ours. A file of an object store is not renamed, which some stores only pretend to do: it is copied. And
what goes wrong at one worker becomes an OSError in words before torch tells the other workers: not every error of the
stores' clients can be sent to another process, and one that cannot would leave the others waiting.
And what is read is unpickled with a short list of what it may call: whoever can write a checkpoint runs no code here.
"""

import io
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import EnumType
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.fsspec_filesystem import FsspecReader, FsspecWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.tensor import DTensor

from workloads.remote import FRESH, is_remote

METADATA = ".metadata"
_MADE = {
    "torch": ("Size",),
    "torch.serialization": ("_get_layout",),
    filesystem.__name__: ("_StorageInfo",),
    metadata.__name__: (
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    ),
}
"""By module: all that torch's METADATA calls for, beside the types of numbers."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if name in _MADE.get(module, ()) or is_type:
            return super().find_class(module, name)
        if (module, name) == ("builtins", "getattr"):
            return _member
        raise pickle.UnpicklingError(f"{METADATA} calls for {module}.{name}, which no checkpoint needs")


def _member(kind: Any, name: Any) -> Any:
    """A member of an enum, which Python 3.11.2 pickles as an attribute of it, and 3.11.7 no more."""
    if isinstance(kind, EnumType) and name in kind.__members__:
        return kind[name]
    raise pickle.UnpicklingError(
        f"{METADATA} calls for {name!r} of what is no enum, which no checkpoint needs"
    )


def unpickled(content: bytes) -> Metadata:
    """The content of METADATA. Raises UnpicklingError where it is anything else."""
    try:
        found = _Unpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # damaged bytes raise what they hit upon
        raise pickle.UnpicklingError(f"{METADATA}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Metadata):
        raise pickle.UnpicklingError(f"{METADATA} holds a {type(found).__name__}")
    return found


def tensor_names(content: bytes) -> set[str]:
    """What is in a checkpoint with this METADATA. Raises UnpicklingError."""
    return set(unpickled(content).state_dict_metadata)


class SafePlanner(DefaultLoadPlanner):
    """As torch's, which unpickles values that are no tensors (the optimizer's settings) whatever they call for."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        try:
            torch.load(value, weights_only=True)
        except pickle.UnpicklingError:  # its advice is to allow it
            raise OSError(f"{read_item.dest_index.fqn} is no plain value") from None
        value.seek(0)
        super().load_bytes(read_item, value)


def share(tensors: dict[str, Any], rank: int, world: int) -> dict[str, Any]:
    """What a worker writes of tensors that all have alike, the largest first to whoever has least; by their full names.

    What is cut over the workers, or has no counterpart at the others (random states), all write of themselves; values
    that are no tensors torch gives to one. So a worker copies a part of the state and not all of it.
    """
    flat, _ = flatten_state_dict(tensors)
    common = [
        name
        for name, value in flat.items()
        if isinstance(value, Tensor) and not isinstance(value, DTensor) and not name.startswith("random.")
    ]
    loads = [0] * world
    for name in sorted(common, key=lambda name: (-flat[name].nbytes, name)):
        owner = loads.index(min(loads))
        loads[owner] += flat[name].nbytes
        if owner != rank:
            del flat[name]
    return flat


class Writer(FsspecWriter):
    def __init__(self, address: str) -> None:
        options: Any = FRESH
        super().__init__(address, **options)
        if is_remote(address):
            self.fs.rename = self._move
            self.fs.mkdir = _no_folder

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


def _no_folder(path: Any) -> None:
    """An object store has no folders: the clients' `makedirs` looks for the bucket and tries to create it, which a
    grant on a folder does not allow."""


class Reader(FsspecReader):
    def __init__(self, address: str) -> None:
        super().__init__(address, **FRESH)

    def read_metadata(self, *given: Any, **more: Any) -> Metadata:
        with in_words(), self.fs.create_stream(self._get_metadata_path(more.get("rank")), "rb") as file:
            found = unpickled(file.read())
        found.storage_meta = found.storage_meta or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found

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
