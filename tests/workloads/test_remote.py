"""Published folders in object stores, against servers that really run."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import HANG_SECONDS, until
from tests.workloads.object_stores import ENDPOINTS, NOBODY, Front, ObjectStore, files
from tests.workloads.training.runs import ROOT
from workloads import remote
from workloads.manifest import (
    MANIFEST,
    ManifestError,
    OutputRefused,
    manifest_digest,
    verify_manifest,
    write_manifest,
)
from workloads.remote import RemoteError, fetch, publishing
from workloads.s3 import FolderS3FileSystem
from workloads.transfer import BAD_MANIFEST, COPIED, MISSING, REFUSED, UNREACHABLE
from workloads.transfer import main as transfer

CONTENT = {"model.safetensors": b"weights" * 1000, "deep/er/tokenizer.json": b"{}", "empty": b""}

NOWHERE = "http://127.0.0.1:1"  # nothing listens there
FETCH = """
import sys
from workloads import remote
counted, downloads = remote.download, 0
def download(*given):
    global downloads
    downloads += 1
    counted(*given)
remote.download = download
print(remote.fetch(*sys.argv[1:]), downloads)
"""


def fetching(*given: str) -> subprocess.Popen[str]:
    """A process that fetches, and tells the folder and how often it downloaded one."""
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *given], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def publish(uri: str, content: dict[str, bytes] = CONTENT) -> str:
    """Publish a folder; its digest."""
    with publishing(uri) as folder:
        for name, data in content.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return write_manifest(folder)


def test_a_folder_that_was_published_is_fetched_as_it_was(bucket: str) -> None:
    digest = publish(f"{bucket}/models/one")
    folder = fetch(f"{bucket}/models/one", digest)
    verify_manifest(folder, digest)
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    assert fetch(f"{bucket}/models/one") == folder


def test_what_replaces_a_folder_leaves_nothing_of_it(bucket: str) -> None:
    publish(f"{bucket}/one")
    digest = publish(f"{bucket}/one", {"new": b"new"})
    assert manifest_digest(fetch(f"{bucket}/one")) == digest
    assert [path.rpartition("/")[2] for path in sorted(files(bucket).find(f"{bucket}/one"))] == [
        MANIFEST,
        "new",
    ]


@pytest.mark.parametrize("first", ["nothing", "a web app's", "a publication"])
def test_a_prefix_with_what_was_never_published_is_not_written_to(bucket: str, first: str) -> None:
    if first == "a publication":
        publish(f"{bucket}/one")
    elif first == "a web app's":
        files(bucket).pipe_file(f"{bucket}/one/{MANIFEST}", b'{"files": ["index.html"]}')
    files(bucket).pipe_file(f"{bucket}/one/thesis.txt", b"precious")
    before = files(bucket).find(f"{bucket}/one")
    with pytest.raises(OutputRefused, match=f"{bucket}/one': holds thesis.txt, which was not published"):
        publish(f"{bucket}/one")
    assert files(bucket).find(f"{bucket}/one") == before


def test_a_copy_into_its_own_source_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    write_manifest(tmp_path / "model")
    where = ["--source", (tmp_path / "model").as_uri(), "--output", str(tmp_path / "model" / "copy")]
    assert transfer(where) == REFUSED
    assert "is, holds or lies in source=" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "model").iterdir()] == [MANIFEST]


def test_a_folder_whose_writer_fails_was_never_there(bucket: str) -> None:
    with pytest.raises(FileNotFoundError), publishing(f"{bucket}/one") as folder:
        shutil.copy(folder / "none", folder / "model.safetensors")
    assert files(bucket).find(f"{bucket}/one") == []


def test_a_folder_without_its_manifest_is_not_there_yet(bucket: str) -> None:
    publish(f"{bucket}/one")
    files(bucket).rm_file(f"{bucket}/one/{MANIFEST}")
    with pytest.raises(
        ManifestError, match=f"{bucket}/one/{MANIFEST}: expected the manifest.*found none.*publish it"
    ):
        fetch(f"{bucket}/one")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"weights" * 999 + b"altered", "expected sha256 .* found .* altered"),
        (None, "listed in manifest.json but missing"),
    ],
)
def test_an_object_that_is_altered_or_missing_is_refused_by_name(
    bucket: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    publish(f"{bucket}/one")
    path = f"{bucket}/one/model.safetensors"
    files(bucket).pipe_file(path, content) if content else files(bucket).rm_file(path)
    with pytest.raises(ManifestError, match=f"{path}: {message}"):
        fetch(f"{bucket}/one")
    assert transfer(["--source", f"{bucket}/one", "--output", str(tmp_path / "copy")]) == BAD_MANIFEST
    assert not (tmp_path / "copy").exists()


def test_another_digest_than_the_expected_one_is_refused_with_both(bucket: str) -> None:
    digest = publish(f"{bucket}/one")
    other = "sha256:" + "0" * 64
    with pytest.raises(ManifestError, match=f"expected digest {other}, found {digest}"):
        fetch(f"{bucket}/one", other)


def test_a_manifest_cannot_write_outside_of_the_folder(bucket: str, tmp_path: Path) -> None:
    manifest = json.dumps(
        {"files": {"../../escaped": {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}}}
    )
    files(bucket).pipe_file(f"{bucket}/one/{MANIFEST}", manifest.encode())
    with pytest.raises(ManifestError, match="lists '../../escaped', which is outside of the folder"):
        fetch(f"{bucket}/one")
    assert list(tmp_path.rglob("escaped")) == []


def test_a_copy_that_was_altered_on_this_machine_is_fetched_again(bucket: str) -> None:
    digest = publish(f"{bucket}/one")
    (fetch(f"{bucket}/one") / "empty").write_bytes(b"altered")
    verify_manifest(fetch(f"{bucket}/one", digest), digest)


def test_a_copy_of_the_expected_digest_needs_no_store(
    bucket: str, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = publish(f"{bucket}/one")
    folder = fetch(f"{bucket}/one", digest)
    monkeypatch.setenv(ENDPOINTS[object_store.scheme], NOWHERE)
    assert fetching(f"{bucket}/one", digest).communicate(timeout=HANG_SECONDS)[0].split() == [
        str(folder),
        "0",
    ]


@pytest.fixture
def front(object_store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """A way to the store that can be told what to deny; all go by it."""
    front = Front(object_store)
    for name, value in front.environment.items():
        monkeypatch.setenv(name, value)
    FolderS3FileSystem.clear_instance_cache()
    yield front
    front.shutdown()
    FolderS3FileSystem.clear_instance_cache()


ON_S3 = pytest.mark.parametrize("object_store", ["s3"], indirect=True)


@ON_S3
def test_a_folder_whose_writing_breaks_off_is_not_there_and_not_the_one_before(
    bucket: str, front: Front
) -> None:
    publish(f"{bucket}/one")
    front.denies = lambda method, path: method == "PUT" and path.endswith("/new")
    with pytest.raises(
        RemoteError, match=f"{bucket}/one: cannot be written .*look whether the bucket exists"
    ):
        publish(f"{bucket}/one", {"new": b"new", "a": b"a"})
    with pytest.raises(ManifestError, match="expected the manifest of a published folder, found none"):
        fetch(f"{bucket}/one")
    front.denies = lambda method, path: False
    files(bucket).pipe_file(f"{bucket}/one/thesis.txt", b"precious")
    with pytest.raises(OutputRefused, match="holds thesis.txt, which was not published"):
        publish(f"{bucket}/one")
    files(bucket).rm_file(f"{bucket}/one/thesis.txt")
    publish(f"{bucket}/one", {"b": b"b"})  # what broke off is known for a publication, and none of it stays
    assert [path.rpartition("/")[2] for path in sorted(files(bucket).find(f"{bucket}/one"))] == [
        "b",
        MANIFEST,
    ]


@ON_S3
def test_of_two_that_fetch_at_once_one_does_and_goes_on_where_a_killed_one_was(
    bucket: str, front: Front, tmp_path: Path
) -> None:
    digest = publish(f"{bucket}/one", {"a": b"a", "b": b"b"})
    partial = tmp_path / "cache" / f"{digest.removeprefix('sha256:')}.partial"
    partial.mkdir(parents=True)
    (partial / "a").write_bytes(b"a")
    (partial / "b").write_bytes(b"half")
    kept = (partial / "a").stat().st_ino
    asked: list[str] = []

    def denies(method: str, path: str) -> bool:
        """Nothing, but the first, which asks for the manifest twice, gets no object before the second asks too."""
        asked.append(path.rpartition("/")[2])
        if method == "GET" and asked[-1] == "b":
            until(lambda: asked.count(MANIFEST) >= 3)
            time.sleep(1)  # a second that does not wait gets far in this time
        return False

    front.denies = denies
    both = [fetching(f"{bucket}/one") for _ in range(2)]
    said = [each.communicate(timeout=HANG_SECONDS)[0].split() for each in both]
    assert said[0][0] == said[1][0]
    assert sorted(int(downloads) for _, downloads in said) == [0, 1]
    verify_manifest(Path(said[0][0]), digest)
    assert (Path(said[0][0]) / "a").stat().st_ino == kept


def test_a_store_that_cannot_be_reached_is_named_with_what_to_look_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    for name, value in {**NOBODY["s3"], ENDPOINTS["s3"]: NOWHERE}.items():
        monkeypatch.setenv(name, value)
    FolderS3FileSystem.clear_instance_cache()
    assert transfer(["--source", "s3://bucket/one", "--output", str(tmp_path / "one")]) == UNREACHABLE
    said = capsys.readouterr().err
    assert "s3://bucket/one: cannot be read" in said and "AWS_ENDPOINT_URL" in said
    assert not (tmp_path / "one").exists()


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="credentials do not belong in it") as refused:
        remote.open_address("s3://key:secret@bucket/one")
    assert "secret" not in str(refused.value)


def test_a_folder_is_copied_between_a_store_and_this_machine(bucket: str, tmp_path: Path) -> None:
    digest = publish(f"{bucket}/one")
    there, again = (tmp_path / "there").as_uri(), f"{bucket}/again"
    assert transfer(["--source", f"{bucket}/one", "--output", there]) == COPIED
    verify_manifest(tmp_path / "there", digest)
    assert transfer(["--source", there, "--output", again]) == COPIED
    assert manifest_digest(fetch(again)) == digest


def copied(source: Path, output: Path | str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a copy, and what it said."""
    return transfer(["--source", str(source), "--output", str(output)]), capsys.readouterr().err


def test_a_copy_tells_a_source_that_is_missing_or_unpublished_from_an_output_that_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = copied(tmp_path / "nowhere", tmp_path / "copy", capsys)
    assert code == MISSING and "nowhere' does not exist" in said
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a").write_text("")
    code, said = copied(tmp_path / "plain", tmp_path / "copy", capsys)
    assert (
        code == BAD_MANIFEST
        and "expected the manifest of a published folder" in said
        and "publish it first" in said
    )
    write_manifest(tmp_path / "plain")
    code, said = copied(tmp_path / "plain", "/proc/skerry/model", capsys)
    assert code == REFUSED and "output='/proc/skerry/model': nothing can be written in /proc" in said
    assert not (tmp_path / "copy").exists()
    assert copied(tmp_path / "plain", tmp_path / "copy", capsys) == (COPIED, "")
    assert copied(tmp_path / "plain", tmp_path / "copy", capsys) == (COPIED, "")
