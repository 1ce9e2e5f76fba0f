"""The workloads' images: what their recipe copies, runs as and leaves out, and what `make images` refuses."""

from __future__ import annotations

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from components.k8s import pods
from tools import image_torch, images, lint, lock
from tools.builders import Builder
from tools.paths import ROOT, WORKLOADS
from tools.problem import Problem

RECIPE = ROOT / images.FILE
MANIFESTS = {
    "training": ("training_job.py",),
    "serving": ("inference_service.py", "model_version.py"),
    "serving-vllm": ("inference_service.py",),
}


def stages() -> dict[str, tuple[str, list[str]]]:
    """Each stage of the recipe: what it begins with, and its instructions, a line each."""
    joined = re.sub(r"\\\n(?:#.*\n)*\s*", "", RECIPE.read_text())
    found: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in joined.splitlines():
        if begun := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            lines = []
            found[begun[2]] = (begun[1], lines)
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


def instructions(target: str) -> list[str]:
    """All instructions of an image, those of the stages that it begins with first."""
    begins, own = stages()[target]
    return [*(instructions(begins) if begins in stages() else []), *own]


def copied(lines: list[str]) -> list[str]:
    """What COPY takes from the repository."""
    taken = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    return [source for sources in taken for source in sources]


def let_through(name: str) -> bool:
    """Whether .containerignore leaves a file to a build: of its lines that match, the last counts."""
    seen = True
    for line in (ROOT / ".containerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            parts = Path(name).parts
            prefixes = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
            if any(fnmatch(one, pattern) for one in (parts if "**/" in line else prefixes)):
                seen = line.startswith("!")
    return seen


def test_everything_that_the_recipe_copies_is_there_and_let_through() -> None:
    wanted = {source for _, lines in stages().values() for source in copied(lines)}
    assert len(wanted) > 8
    for source in sorted(wanted):
        files = list(ROOT.glob(source))
        assert files, f"COPY {source}: nothing is called so"
        for file in files:
            assert let_through(file.relative_to(ROOT).as_posix()), f"{file} is kept from the build"


@pytest.mark.parametrize(
    "name", [".git/config", ".tools/toolkit/bin/python", ".skerry/state/x", "tests/stand_ins.py", "README.md"]
)
def test_a_build_sees_nothing_but_what_it_needs(name: str) -> None:
    assert not let_through(name)


def imported(module: str) -> set[str]:
    """Modules of the workloads that a module needs, its own imports' included."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        found.add(name)
        path = ROOT / name.replace(".", "/")
        source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        for node in ast.walk(ast.parse(source.read_text())):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workloads"):
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [node.module or "", *(one for one in inner if file_of(one).exists())]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("workloads")]
            waiting |= set(names) - found
    return found


def file_of(module: str) -> Path:
    return (ROOT / module.replace(".", "/")).with_suffix(".py")


@pytest.mark.parametrize("target", MANIFESTS)
def test_an_image_holds_every_module_that_the_clusters_commands_run(target: str) -> None:
    text = "".join((ROOT / "components/k8s" / name).read_text() for name in MANIFESTS[target])
    programs = set(re.findall(r'"(workloads\.[a-z_.]+)"', text))
    assert programs
    sources = copied(instructions(target))
    for module in sorted({needed for program in programs for needed in imported(program)}):
        file = (
            file_of(module) if file_of(module).exists() else ROOT / module.replace(".", "/") / "__init__.py"
        )
        name = file.relative_to(ROOT).as_posix()
        held = any(
            name.startswith(f"{source}/")
            or (Path(name).parent == Path(source).parent and fnmatch(name, source))
            for source in sources
        )
        assert held, f"{module} is in no COPY of target {target}: add its folder there"


def test_an_image_knows_the_commit_that_it_was_built_from_where_the_training_looks_for_it() -> None:
    [name] = re.findall(r'^REVISION = "(\w+)"', (ROOT / "workloads/training/source.py").read_text(), re.M)
    assert f"ENV {name}=${{REVISION}}" in instructions("training")


@pytest.mark.parametrize("target", MANIFESTS)
def test_an_image_runs_as_the_user_of_the_clusters_pods_who_is_not_root(target: str) -> None:
    users = [line.removeprefix("USER ") for line in instructions(target) if line.startswith("USER ")]
    assert users[-1] == f"{pods.USER}:{pods.USER}" and pods.USER != 0


def test_a_cpu_image_leaves_out_only_what_the_lock_names_and_takes_no_pin_without_a_hash() -> None:
    text = (ROOT / lock.TORCH).read_text()
    everything, cpu = (lock.versions(image_torch.requirements(variant, text)) for variant in ("cuda", "cpu"))
    assert everything == lock.versions(text)
    assert everything.keys() - cpu.keys() == image_torch.NOT_ON_A_CPU.keys()
    assert "torch" in cpu
    assert all("--hash=sha256:" in block for block in lock.blocks(image_torch.requirements("cpu", text)))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A tree like torch's, of numpy's libraries, with one beside them that nothing asks for."""
    found = next(WORKLOADS.glob("lib/python3*/site-packages"))
    (tmp_path / "torch/lib").mkdir(parents=True)
    real = next((found / "numpy/_core").glob("_multiarray_umath.*.so"))
    shutil.copy(real, tmp_path / "torch/lib/libtorch_python.so")
    shutil.copytree(found / "numpy.libs", tmp_path / "nvidia")
    (tmp_path / "numpy.libs").symlink_to("nvidia")
    (tmp_path / "nvidia/libcudnn_engines.so").write_bytes(b"only a GPU would ask for it")
    return tmp_path


def test_only_libraries_that_the_loader_does_not_ask_for_are_removed(packages: Path) -> None:
    before = {path.name for path in (packages / "nvidia").iterdir()}
    assert image_torch.prune(packages) == len(b"only a GPU would ask for it")
    assert before - {path.name for path in (packages / "nvidia").iterdir()} == {"libcudnn_engines.so"}


def test_a_package_left_out_although_the_loader_asks_for_it_ends_the_build(packages: Path) -> None:
    next((packages / "nvidia").glob("libscipy_openblas*")).unlink()
    with pytest.raises(Problem, match="libscipy_openblas.* is left out") as caught:
        image_torch.prune(packages)
    assert "NOT_ON_A_CPU" in caught.value.remedy
    assert (packages / "nvidia/libcudnn_engines.so").exists(), "something was removed all the same"


def hadolint(recipe: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(lint.HADOLINT), "--no-color", str(recipe)], capture_output=True, text=True)


def test_hadolint_passes_every_recipe_and_finds_a_planted_fault(tmp_path: Path) -> None:
    assert images.FILE in lint.recipes()
    for name in lint.recipes():
        assert hadolint(ROOT / name).returncode == 0
    planted = tmp_path / "Containerfile"
    planted.write_text(RECIPE.read_text().replace("USER 10001:10001", "USER root"))
    done = hadolint(planted)
    assert done.returncode == 1 and "DL3002" in done.stdout


def test_where_hadolint_has_no_wheel_lint_says_what_was_not_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(tmp_path / "hadolint"), "Containerfile"]
    monkeypatch.setattr(lint, "HADOLINT", tmp_path / "hadolint")
    monkeypatch.setattr(lint, "CHECKS", (("images", command),))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert lint.not_offered(command) == "", "where there is a wheel, its absence is a fault"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert lint.main() == 0
    assert "lint: images NOT CHECKED: hadolint has no wheel for aarch64" in capsys.readouterr().out


def make_images(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.images", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True)


def test_without_a_builder_the_refusal_says_how_to_get_one(tmp_path: Path) -> None:
    done = make_images(PATH=str(tmp_path))
    assert done.returncode == 1
    assert "podman or buildah, which builds images, is not on PATH" in done.stderr
    assert "apt-get install podman" in done.stderr


@pytest.fixture
def podman(tmp_path: Path) -> Path:
    """A stand-in for podman, which keeps what it is told and answers where images are kept."""
    program = tmp_path / "podman"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        f"at = pathlib.Path({str(tmp_path)!r})\n"
        "with (at / 'told').open('a') as told:\n"
        "    print(*sys.argv[1:], file=told)\n"
        "if sys.argv[1] == 'info':\n"
        "    print(json.dumps({'store': {'graphRoot': str(at / 'images')}}))\n"
        "if '--iidfile' in sys.argv and not (at / 'interrupted').exists():\n"
        "    pathlib.Path(sys.argv[sys.argv.index('--iidfile') + 1]).write_text('sha256:0')\n"
        "for word in sys.argv:\n"
        "    if word.startswith('id=pip.conf,src='):\n"
        "        (at / 'pip.conf').write_text(pathlib.Path(word.split('src=')[1]).read_text())\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_a_store_without_room_is_refused_with_both_figures_before_anything_is_built(
    podman: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(podman.parent))
    monkeypatch.setitem(images.DISK_GB, "cpu", 1e9)
    assert images.main(["--variant", "cpu"]) == 1
    said = capsys.readouterr().err
    assert re.search(
        r"error: \d+ GB are free in \S+/images, and building cpu takes up to 1000000000 GB", said
    )
    assert "remedy: free some (`podman rmi`" in said
    assert (podman.parent / "told").read_text().split() == ["info", "--format", "json"]


def test_an_indexs_password_reaches_a_build_as_a_secret_and_in_no_other_way(
    podman: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address = "http://me:secret@127.0.0.1:9/simple"
    monkeypatch.setenv("PATH", os.pathsep.join([str(podman.parent), os.environ["PATH"]]))
    monkeypatch.setenv("PIP_INDEX_URL", address)
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    monkeypatch.setitem(images.DISK_GB, "cpu", 0)
    assert images.main([]) == 0
    told = (podman.parent / "told").read_text()
    assert told.count("--target training") == told.count("--target serving") == 1
    assert "secret@" not in told + "".join(capfd.readouterr())
    config = (podman.parent / "pip.conf").read_text()
    assert f"index-url = {address}" in config and "nowhere" not in config


def test_an_interrupted_build_that_ends_with_0_is_no_image(
    podman: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (podman.parent / "interrupted").touch()
    monkeypatch.setenv("PATH", os.pathsep.join([str(podman.parent), os.environ["PATH"]]))
    monkeypatch.setitem(images.DISK_GB, "cpu", 0)
    assert images.main([]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "error: localhost/skerry-training:cpu was not built" in said.err


def test_a_builder_that_does_not_work_is_told_with_its_own_words(tmp_path: Path) -> None:
    broken = tmp_path / "podman"
    broken.write_text("#!/bin/sh\necho no subuid ranges >&2\nexit 125\n")
    broken.chmod(0o755)
    with pytest.raises(Problem, match="no subuid ranges"):
        Builder("podman", str(broken)).store()
