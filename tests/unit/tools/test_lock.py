"""The locks: hashed throughout, the same versions in both environments, no index named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools import lock
from tools.paths import ROOT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the repository's lock files and their inputs."""
    for path in lock.requirement_files(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def test_the_locks_of_this_repository_are_sound() -> None:
    assert lock.faults() == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://company.example/simple",
        "-i company.example",
        "x @ http://a.example/x.whl",
        "--find-links w",
    ],
)
@pytest.mark.parametrize("file", ["requirements.in", "workloads/requirements-torch.txt", "constraints.txt"])
def test_a_line_that_names_an_index_is_found_with_its_place(root: Path, file: str, line: str) -> None:
    text = (root / file).read_text()
    (root / file).write_text(f"{text}{line}\n")
    found = [fault for fault in lock.faults(root) if f"{file}:{len(text.splitlines()) + 1}:" in fault]
    assert found and "indexes are the user's own setting" in found[0]


def test_a_package_that_the_two_environments_pin_differently_is_found(root: Path) -> None:
    file = root / lock.WORKLOADS
    file.write_text(file.read_text().replace("fsspec==", "fsspec==1", 1))
    assert any(fault.startswith("fsspec: ") and "constraints.txt" in fault for fault in lock.faults(root))


def test_a_pin_without_a_hash_is_found(root: Path) -> None:
    file = root / lock.TOOLKIT
    file.write_text(file.read_text() + "extra==1.0\n")
    assert f"{lock.TOOLKIT}: extra==1.0 has no hash; run `make lock`" in lock.faults(root)


def test_a_lock_that_is_gone_is_found(root: Path) -> None:
    (root / lock.MODELS).unlink()
    assert f"{lock.MODELS}: missing; run `make lock`" in lock.faults(root)


def test_torch_and_the_cuda_libraries_stand_in_a_lock_of_their_own() -> None:
    with_cuda = lock.versions((ROOT / lock.TORCH).read_text())
    without = lock.versions((ROOT / lock.WORKLOADS).read_text())
    assert "torch" in with_cuda and any(name.startswith("nvidia-") for name in with_cuda)
    assert not [
        name for name in without if name.startswith(("nvidia-", "cuda-")) or name in ("torch", "triton")
    ]


def test_an_environment_apart_may_pin_another_version_and_needs_its_hashes_all_the_same(root: Path) -> None:
    file = root / lock.HOROVOD
    assert lock.versions(file.read_text())["torch"] != lock.versions((root / lock.TORCH).read_text())["torch"]
    file.write_text(file.read_text() + "extra==1.0\n")
    assert lock.faults(root) == [f"{lock.HOROVOD}: extra==1.0 has no hash; run `make lock`"]
