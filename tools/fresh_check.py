"""`make fresh-check`: the README's commands, as somebody who has just cloned the repository.

As root: a new unprivileged user with an empty home, deleted at the end. Otherwise: the current user with an
empty temporary home. The environment is empty too, but for what a machine needs to reach its registries.
The times go to bench/results/fresh_check.json, a variant (with Go on PATH, without) beside the other.

    python3 -m tools.fresh_check [--only go|nogo] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tools import processes
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

RESULTS = ROOT / "bench/results/fresh_check.json"


def say(line: str) -> None:
    """One line of the report."""
    print(f"fresh-check: {line}", flush=True)


@contextmanager
def newcomer() -> Iterator[tuple[Path, list[str], Path]]:
    """An empty home, the words that run a command as its owner, and where its temporary files lie.

    All of it is gone afterwards.
    """
    if os.getuid() != 0:
        with (
            tempfile.TemporaryDirectory(prefix="skerry-home-") as home,
            tempfile.TemporaryDirectory(prefix="skerry-") as temporary,
        ):
            say(f"not root: as the current user, with the empty home {home}")
            try:
                yield Path(home), [], Path(temporary)
            finally:
                processes.end(Path(home))
        return
    name = f"skerry-{secrets.token_hex(4)}"
    subprocess.run(
        ["useradd", "--create-home", "--skel", "/dev/null", "--shell", "/bin/sh", name], check=True
    )
    user = pwd.getpwnam(name)
    try:
        say(f"as the new user {name}")
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
        remove_files(user.pw_uid, Path("/tmp"))  # of a user who is gone and whose number this one got
        yield Path(user.pw_dir), ["setpriv", *ids, "--clear-groups", "--no-new-privs", "--"], Path("/tmp")
    finally:
        while left := processes.found(user.pw_uid):  # what they start meanwhile too
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        remove_files(user.pw_uid, Path("/tmp"))
        subprocess.run(["userdel", "--remove", name], check=False, capture_output=True)
        shutil.rmtree(user.pw_dir, ignore_errors=True)


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


class Check:
    """One variant: the steps in a fresh clone, how long each took, and what was wrong."""

    def __init__(self, variant: str, quick: bool) -> None:
        self.variant = variant
        self.quick = quick
        self.seconds: dict[str, float] = {}
        self.faults: list[str] = []

    def fault(self, what: str) -> None:
        """Something that a newcomer would stumble over."""
        self.faults.append(f"{self.variant}: {what}")
        say(f"{self.variant}: FAULT {what}")

    def follow(self, home: Path, as_user: list[str], temporary: Path) -> None:
        """Clone, follow the README, and look at what is left."""
        path = path_with_go(self.variant == "go")
        carried = {key: os.environ[key] for key in CARRIED if key in os.environ}
        env = {"HOME": str(home), "PATH": path, "TERM": "dumb", **carried}
        if not as_user:  # the caller's own /tmp is full of other things
            env["TMPDIR"] = str(temporary)
        clone = home / "skerry"

        def run(*words: str, cwd: Path = clone, told: bool = False) -> subprocess.CompletedProcess[str]:
            pipe = subprocess.PIPE if told else None
            null = subprocess.DEVNULL
            return subprocess.run([*as_user, *words], cwd=cwd, env=env, stdout=pipe, stdin=null, text=True)

        def step(name: str, *words: str, told: bool = False) -> str:
            began = time.monotonic()
            done = run(*words, told=told)
            self.seconds[name] = round(time.monotonic() - began, 1)
            say(f"{self.variant}: {name}: rc {done.returncode} in {self.seconds[name]:.1f} s")
            if done.returncode:
                self.fault(f"{name} ended with {done.returncode}")
            return done.stdout or ""

        bundle = home / "main.bundle"  # the user may not read our clone, and ours may not be theirs for git
        subprocess.run(["git", "bundle", "create", "--quiet", str(bundle), "HEAD"], cwd=ROOT, check=True)
        bundle.chmod(0o644)
        clone_it = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", str(bundle), str(clone)]
        if run(*clone_it, cwd=home).returncode:
            self.fault("the clone failed")
            return
        bundle.unlink()
        say(f"{self.variant}: {commit()[:12]} cloned, PATH={path}")
        say(f"{self.variant}: carried from this environment: {', '.join(carried) or 'nothing'}")

        step("make up", "make", "up")
        for line in run("git", "status", "--porcelain", told=True).stdout.splitlines():
            self.fault(f"not clean after make up: {line}")
        if wrong := not_outputs(step("make outputs", "make", "outputs", told=True)):
            self.fault(f"make outputs: {wrong}")
        requests = curl_blocks((clone / "README.md").read_text())
        if not requests:
            self.fault("README.md holds no ```bash block that starts with curl")
        for number, request in enumerate(requests, start=1):
            name = f"README's curl {number}"
            if wrong := not_an_answer(step(name, "sh", "-c", request, told=True)):
                self.fault(f"{name}: {wrong}")
        if not self.quick:
            step("make test", "make", "test")
        step("make down", "make", "down")
        time.sleep(2)
        uid = clone.stat().st_uid
        for pid, command in processes.found(uid, None if as_user else clone).items():
            self.fault(f"left running after make down: {pid} {command}")
        for file in files_of(uid, temporary):
            self.fault(f"left after make down: {file}")
        for file in sorted((clone / ".skerry").glob("*")):
            if file.name != "state":
                self.fault(f"left after make down: {file.relative_to(clone)}")

    def record(self) -> dict[str, Any]:
        """What is kept of the run."""
        return {
            "variant": self.variant,
            "quick": self.quick,
            "date": time.strftime("%Y-%m-%d"),
            "commit": commit(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "passed": not self.faults,
            "seconds": self.seconds,
        }


def curl_blocks(readme: str) -> list[str]:
    """The ```bash blocks that start with curl."""
    return re.findall(r"(?ms)^```bash\n(curl .*?)^```", readme)


def not_outputs(stdout: str) -> str:
    """What is wrong with the outputs' JSON; '' for nothing."""
    try:
        told = json.loads(stdout)
    except ValueError as error:
        return f"stdout is not JSON alone ({error}): {stdout[:200]!r}"
    return "" if isinstance(told, dict) and told else f"no outputs: {stdout[:200]!r}"


def not_an_answer(stdout: str) -> str:
    """What is wrong with a model's answer; '' for nothing."""
    try:
        choices = json.loads(stdout)["choices"]
    except (ValueError, KeyError, TypeError):
        return f"no `choices` in {stdout[:200]!r}"
    return "" if isinstance(choices, list) and choices else f"`choices` is empty in {stdout[:200]!r}"


def remove_files(uid: int, folder: Path) -> None:
    """Removes what a user owns there."""
    for file in files_of(uid, folder):
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)


def files_of(uid: int, folder: Path) -> list[Path]:
    """What a user owns below a folder; of a folder of theirs, nothing but itself."""
    found: list[Path] = []
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return found
    for entry in entries:
        try:
            status = entry.lstat()
        except OSError:
            continue
        if status.st_uid == uid:
            found.append(entry)
        elif stat.S_ISDIR(status.st_mode):
            found += files_of(uid, entry)
    return found


def commit() -> str:
    """What is checked."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def processor() -> str:
    """The machine's, as Linux names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def keep(record: dict[str, Any], results: Path) -> None:
    """Put one run beside those of the other variants; a quick run does not displace a whole one."""
    try:
        kept = json.loads(results.read_text())
    except (OSError, ValueError):
        kept = {}
    kept[record["variant"] + ("-quick" if record["quick"] else "")] = record
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def table(records: list[dict[str, Any]]) -> str:
    """The times of all variants, a row for each step."""
    names = list(dict.fromkeys(name for record in records for name in record["seconds"]))
    width = max(map(len, [*names, "seconds"]))
    rows = ["  ".join([f"{'seconds':<{width}}", *(f"{record['variant']:>8}" for record in records)])]
    for name in names:
        times = (record["seconds"].get(name) for record in records)
        rows.append("  ".join([f"{name:<{width}}", *(f"{'-' if t is None else t:>8}" for t in times)]))
    return "\n".join(rows)


def main(argv: list[str] | None = None) -> int:
    """Check both variants, or one."""
    parser = argparse.ArgumentParser(prog="make fresh-check", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=("go", "nogo"), help="one variant instead of both")
    parser.add_argument("--quick", action="store_true", help="without make test")
    options = parser.parse_args(argv)
    variants = (options.only,) if options.only else ("go", "nogo")
    # So that the newcomer, and what they started, go too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    checks = [Check(variant, options.quick) for variant in variants]
    for check in checks:
        with newcomer() as (home, as_user, temporary):
            check.follow(home, as_user, temporary)
        keep(check.record(), RESULTS)
    faults = [fault for check in checks for fault in check.faults]
    for fault in faults:
        say(f"FAIL {fault}")
    print(table([check.record() for check in checks]), flush=True)
    if not faults:
        say(f"PASS {' and '.join(variants)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
