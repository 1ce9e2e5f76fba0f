import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workloads.training.runs import ROOT
from workloads.manifest import (
    MANIFEST,
    ManifestError,
    OutputRefused,
    manifest_digest,
    publish_atomically,
    verify_manifest,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "part").mkdir(parents=True)
    (tmp_path / "model" / "weights.bin").write_bytes(bytes(range(200)))
    (tmp_path / "model" / "part" / "config.json").write_text("{}")
    return tmp_path / "model"


def test_a_written_folder_verifies_and_gives_its_facts_back(folder: Path) -> None:
    digest = write_manifest(folder, data_digest="sha256:00")
    manifest = verify_manifest(folder, digest)
    assert list(manifest["files"]) == ["part/config.json", "weights.bin"]
    assert manifest["files"]["weights.bin"]["bytes"] == 200
    assert manifest["data_digest"] == "sha256:00"
    assert digest == manifest_digest(folder)


def test_the_same_content_gives_the_same_digest_and_another_fact_gives_another(folder: Path) -> None:
    first = write_manifest(folder, data_digest="a")
    assert write_manifest(folder, data_digest="a") == first
    assert write_manifest(folder, data_digest="b") != first


def test_a_fact_cannot_hide_the_listing(folder: Path) -> None:
    with pytest.raises(ValueError, match='cannot be called "files".*rename it'):
        write_manifest(folder, files=[])


def test_a_number_that_is_none_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_manifest(folder, metrics={"train_loss": float("nan")})
    assert not (folder / "manifest.json").exists()


def _truncate(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(bytes(range(150)))


def _alter(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(bytes([1, *range(1, 200)]))


def _remove(folder: Path) -> None:
    (folder / "part" / "config.json").unlink()


def _add(folder: Path) -> None:
    (folder / "part" / "stray.txt").write_text("")


def _break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"files": [')


def _remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, r"weights\.bin: expected 200 bytes, found 150; copy this file again"),
        (_alter, r"weights\.bin: expected sha256 .* found .* altered; copy this file again"),
        (_remove, r"part/config\.json: listed in manifest\.json but missing; copy the whole folder again"),
        (_add, r"part/stray\.txt: not listed in manifest\.json; remove it"),
        (_break_manifest, r"manifest\.json: expected JSON .* export or copy the folder again"),
        (_remove_manifest, r"manifest\.json: expected the manifest .* found none .* export again"),
    ],
)
def test_damage_is_refused_with_the_file_and_the_remedy(folder: Path, damage, message: str) -> None:
    write_manifest(folder)
    damage(folder)
    with pytest.raises(ManifestError, match=message):
        verify_manifest(folder)


def test_another_digest_than_the_expected_one_is_refused(folder: Path) -> None:
    found = write_manifest(folder)
    with pytest.raises(
        ManifestError, match=f"manifest.json: expected digest sha256:00, found {found}.*right folder"
    ):
        verify_manifest(folder, "sha256:00")


def test_publishing_replaces_the_folder_that_was_there(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with publish_atomically(tmp_path / "deep" / "model") as partial:
            (partial / text).write_text(text)
            write_manifest(partial)
    assert sorted(os.listdir(tmp_path / "deep" / "model")) == [MANIFEST, "second"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def publish_and_raise(destination: Path, error: type[BaseException]) -> None:
    with publish_atomically(destination) as partial:
        (partial / "lost").write_text("")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_earlier_folder_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with publish_atomically(tmp_path / "model") as partial:
        write_manifest(partial)
    with pytest.raises(error):
        publish_and_raise(tmp_path / "model", error)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "model",
        f"model/{MANIFEST}",
    ]


def test_a_failing_rename_puts_the_earlier_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publish_atomically(tmp_path / "model") as partial:
        write_manifest(partial)
    rename, calls = os.rename, []

    def fail_second(*names: Path) -> None:
        calls.append(names)
        if len(calls) == 2:
            raise OSError("no space left")
        rename(*names)

    monkeypatch.setattr(os, "rename", fail_second)
    with pytest.raises(OSError, match="no space left"), publish_atomically(tmp_path / "model"):
        pass
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "model",
        f"model/{MANIFEST}",
    ]


KILLED_WHILE_WRITING = """
import os, signal, sys, pathlib
from workloads.manifest import publish_atomically
with publish_atomically(pathlib.Path(sys.argv[1])) as partial:
    (partial / "half").write_text("")
    os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_BETWEEN_RENAMES = """
import os, signal, sys, pathlib
from workloads.manifest import publish_atomically
rename = os.rename
def rename_and_die(*names):
    rename(*names)
    os.kill(os.getpid(), signal.SIGKILL)
with publish_atomically(pathlib.Path(sys.argv[1])) as partial:
    (partial / "half").write_text("")
    os.rename = rename_and_die
"""


@pytest.mark.parametrize(("program", "left"), [(KILLED_WHILE_WRITING, True), (KILLED_BETWEEN_RENAMES, False)])
def test_the_next_writer_clears_up_after_a_killed_one(tmp_path: Path, program: str, left: bool) -> None:
    neighbour = tmp_path / ".model.partial-of-someone-else"
    neighbour.mkdir()
    with publish_atomically(tmp_path / "model") as partial:
        first = write_manifest(partial)
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "model")], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "model").exists() == left
    assert len(list(tmp_path.iterdir())) > 2 - (not left), "the killed writer left something to clear"
    with pytest.raises(ValueError), publish_atomically(tmp_path / "model"):
        raise ValueError  # even a writer that fails puts the earlier folder back
    assert manifest_digest(tmp_path / "model") == first
    with publish_atomically(tmp_path / "model") as partial:
        (partial / "second").write_text("")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["second"]
    assert {path.name for path in tmp_path.iterdir()} == {"model", neighbour.name}


def test_publishing_over_a_file_is_refused_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("precious")
    refused = pytest.raises(NotADirectoryError, match="a file stands where the folder should go")
    with refused, publish_atomically(tmp_path / "model"):
        pass
    assert (tmp_path / "model").read_text() == "precious"


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.txt": "precious"},
        {"manifest.json": '{"name": "a web app", "files": [{"path": "/"}]}', "thesis.txt": "precious"},
        {"manifest.json": '{"files": {"a": {"bytes": 0, "sha256": ""}}}', "a": "", "thesis.txt": "added"},
        {"thesis.txt": "precious", "compile-cache/one": ""},
    ],
)
def test_what_was_never_published_is_not_replaced_and_an_empty_folder_is(
    tmp_path: Path, files: dict[str, str]
) -> None:
    mine = tmp_path / "mine"
    for name, text in files.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text(text)
    refused = pytest.raises(
        OutputRefused, match="mine': holds thesis.txt, which was not published.*give a new"
    )
    with refused, publish_atomically(mine):
        pass
    assert {name: (mine / name).read_text() for name in files} == files
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for name in files:
        (mine / name).unlink()
    with publish_atomically(mine) as partial:
        (partial / "ours").write_text("")
    assert (mine / "ours").exists()


def test_a_folder_with_what_a_compiler_made_of_it_is_replaced(tmp_path: Path) -> None:
    with publish_atomically(tmp_path / "model") as partial:
        write_manifest(partial)
    (tmp_path / "model" / "compile-cache").mkdir()
    (tmp_path / "model" / "compile-cache" / "native").write_text("")
    with publish_atomically(tmp_path / "model") as partial:
        (partial / "new").write_text("")
    assert os.listdir(tmp_path / "model") == ["new"]


def test_a_link_stays_and_leads_to_what_was_published(tmp_path: Path) -> None:
    (tmp_path / "disk" / "model").mkdir(parents=True)
    (tmp_path / "link").symlink_to("disk/model")
    with publish_atomically(tmp_path / "link") as partial:
        (partial / "new").write_text("")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "model" / "new").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "link"}
