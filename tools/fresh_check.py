"""`make fresh-check`: the README's commands, as somebody who has just cloned the repository.

As root: a new unprivileged user with an empty home, deleted at the end. Otherwise: the current user with an
empty temporary home. The environment is empty too, but for what a machine needs to reach its registries.

    python3 -m tools.fresh_check [--only go|nogo] [--quick]
"""

from __future__ import annotations

import argparse
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.paths import ROOT

PLAIN_PATH = "/usr/local/bin:/usr/bin:/bin"

# What a machine behind a proxy or an inspecting firewall needs; nothing that changes what is installed.
CARRIED = (
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_INDEX_URL",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "GOPROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)

FULL = (("make", "up"), ("make", "test"), ("make", "down"))
QUICK = (("make", "up"), ("make", "outputs"), ("make", "down"))


def say(line: str) -> None:
    """One line of the report."""
    print(f"fresh-check: {line}", flush=True)


@contextmanager
def newcomer() -> Iterator[tuple[Path, list[str]]]:
    """An empty home and the words that run a command as its owner; all of it is gone afterwards."""
    if os.getuid() != 0:
        with tempfile.TemporaryDirectory(prefix="skerry-home-") as home:
            say(f"not root: as the current user, with the empty home {home}")
            yield Path(home), []
        return
    name = f"skerry-{secrets.token_hex(4)}"
    subprocess.run(
        ["useradd", "--create-home", "--skel", "/dev/null", "--shell", "/bin/sh", name], check=True
    )
    user = pwd.getpwnam(name)
    try:
        say(f"as the new user {name}")
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
        yield Path(user.pw_dir), ["setpriv", *ids, "--clear-groups", "--no-new-privs", "--"]
    finally:
        for pid in processes_of(user.pw_uid):
            os.kill(pid, 9)
        time.sleep(0.5)
        subprocess.run(["userdel", "--remove", name], check=False, capture_output=True)
        shutil.rmtree(user.pw_dir, ignore_errors=True)


def processes_of(uid: int, inside: Path | None = None) -> dict[int, str]:
    """The user's processes (those that stand in a folder, where one is given), by their command."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid != uid:
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            stands_in = (entry / "cwd").resolve()
        except OSError:
            continue
        if command and (inside is None or stands_in.is_relative_to(inside)):
            found[int(entry.name)] = command
    return found


def path_with_go(wanted: bool) -> str:
    """A PATH as a newcomer has it, with or without Go on it."""
    if not wanted:
        for folder in PLAIN_PATH.split(":"):
            if (Path(folder) / "go").exists():
                raise SystemExit(
                    f"fresh-check: {folder} itself holds a go: the run without Go is not possible here"
                )
        return PLAIN_PATH
    go = shutil.which("go")
    if go is None:
        raise SystemExit(
            "fresh-check: no Go on PATH for the run with Go\n  remedy: install it, or --only nogo"
        )
    real = Path(go).resolve()
    closed = [folder for folder in [real, *real.parents] if (folder.stat().st_mode & 0o005) != 0o005]
    if closed and os.getuid() == 0:
        raise SystemExit(
            f"fresh-check: {closed[-1]} is closed to other users, so a newcomer cannot run {real}\n"
            "  remedy: install Go where everybody can read it, or --only nogo"
        )
    return f"{real.parent}:{PLAIN_PATH}"


def check(variant: str, steps: tuple[tuple[str, ...], ...]) -> list[str]:
    """Follow the steps in a fresh clone; what was wrong."""
    path = path_with_go(variant == "go")
    with newcomer() as (home, as_user):
        carried = {key: os.environ[key] for key in CARRIED if key in os.environ}
        env = {"HOME": str(home), "PATH": path, "TERM": "dumb", **carried}
        clone = home / "skerry"

        def run(*words: str, cwd: Path = clone, quiet: bool = False) -> subprocess.CompletedProcess[str]:
            pipe = subprocess.PIPE if quiet else None
            words_as_user, null = [*as_user, *words], subprocess.DEVNULL
            return subprocess.run(words_as_user, cwd=cwd, env=env, stdout=pipe, stdin=null, text=True)

        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        bundle = home / "main.bundle"  # the user may not read our clone, and ours may not be theirs for git
        subprocess.run(["git", "bundle", "create", "--quiet", str(bundle), "HEAD"], cwd=ROOT, check=True)
        bundle.chmod(0o644)
        if run(
            "git", "-c", "advice.detachedHead=false", "clone", "--quiet", str(bundle), str(clone), cwd=home
        ).returncode:
            return [f"{variant}: the clone failed"]
        bundle.unlink()
        say(f"{variant}: {head.stdout.strip()[:12]} cloned, PATH={path}")
        say(f"{variant}: carried from this environment: {', '.join(carried) or 'nothing'}")
        faults: list[str] = []
        for step in steps:
            began = time.monotonic()
            done = run(*step)
            say(f"{variant}: {' '.join(step)}: rc {done.returncode} in {time.monotonic() - began:.0f} s")
            if done.returncode:
                faults.append(f"{variant}: {' '.join(step)} ended with {done.returncode}")
            if step == ("make", "up"):
                changed = run("git", "status", "--porcelain", quiet=True).stdout
                faults += [f"{variant}: not clean after make up: {line}" for line in changed.splitlines()]
        time.sleep(2)
        left = processes_of(clone.stat().st_uid, None if as_user else clone)
        faults += [
            f"{variant}: left running after make down: {pid} {command}" for pid, command in left.items()
        ]
        return faults


def main(argv: list[str] | None = None) -> int:
    """Check both variants, or one."""
    parser = argparse.ArgumentParser(prog="make fresh-check", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=("go", "nogo"), help="one variant instead of both")
    parser.add_argument("--quick", action="store_true", help="only make up, make outputs, make down")
    options = parser.parse_args(argv)
    variants = (options.only,) if options.only else ("go", "nogo")
    faults = [fault for variant in variants for fault in check(variant, QUICK if options.quick else FULL)]
    for fault in faults:
        say(f"FAIL {fault}")
    if not faults:
        say(f"PASS {' and '.join(variants)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
