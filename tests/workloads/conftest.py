import os
import tempfile
from collections.abc import Iterator

import pytest

# What torch reads once, when it is first imported: by what is imported below.
# torch's compiler makes its cache folder as soon as torchao or transformers is imported, by default in /tmp.
_compiled = tempfile.TemporaryDirectory()  # goes with this process
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _compiled.name
# Products as small as the tests' gain nothing from threads, and those wait for each other by spinning; where a test
# is about threads they sleep instead.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"

from tests.workloads.object_stores import ObjectStore, files, new_bucket, start  # noqa: E402
from tests.workloads.recorded_pods import Pods  # noqa: E402


@pytest.fixture(scope="session", params=["s3", "gs"])
def object_store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """An object store that runs for all tests of one kind: moto's S3, then the emulator of Google's."""
    store = start(request.param)
    yield store
    store.stop()


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path) -> str:
    """The address of an empty bucket; the environment leads there, and copies land beside the test's own files."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SKERRY_CACHE", str(tmp_path / "cache"))
    return new_bucket(object_store.scheme)


@pytest.fixture
def pods(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[Pods]:
    """All buckets of the stack, and pods that reach them. No cache of a client outlives the test."""
    found = Pods(object_store, monkeypatch)
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    buckets = {uri.split("/")[2] for uris in found.of.values() for uri in uris.values()}
    for bucket in buckets:
        address = f"{object_store.scheme}://{bucket}"
        made = files(address)
        if made.exists(address):
            made.rm(made.find(bucket)) if made.find(bucket) else None
        else:
            made.mkdir(bucket)
    monkeypatch.setenv("SKERRY_CACHE", str(tmp_path / "cache"))
    yield found
    found.stop()
