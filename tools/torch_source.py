"""Which torch to install: the CPU build where the user's own index offers it, else the locked one.

The locked torch runs on CPUs too, but brings about 5 GB of CUDA libraries. Company indexes and torch's own
offer a `+cpu` build of the same version. Its hash cannot be in our lock, so it is taken from that index,
said aloud, and held to: what is then downloaded must have exactly that hash.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.problem import Problem

ASK_TIMEOUT_S = 120


@dataclass(frozen=True)
class CpuBuild:
    """A `+cpu` wheel that an index of the user's offers."""

    version: str
    url: str
    sha256: str

    def requirement(self) -> str:
        """A line for `pip install --require-hashes`."""
        return f"torch=={self.version} --hash=sha256:{self.sha256}\n"


def locked_version(lock: Path) -> str:
    """The torch version that our lock pins."""
    match = re.search(r"(?m)^torch==([^\s;\\]+)", lock.read_text())
    if match is None:
        raise Problem(f"{lock} pins no torch", "run `make lock`")
    return match[1]


def find_cpu_build(python: Path, version: str, env: dict[str, str]) -> CpuBuild | None:
    """Ask the indexes that the user's pip is configured with; None when none of them has it."""
    wanted = f"torch=={version}+cpu"
    command = [str(python), "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    command += ["--only-binary", ":all:", "--no-cache-dir", "--retries", "1", "--report", "-", wanted]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, env=env)
    except subprocess.TimeoutExpired:
        return None
    if "DO NOT MATCH THE HASHES" in asked.stderr:
        raise Problem(
            f"an index of yours offers {wanted}, but what it serves does not have the hash it states",
            "repair that index, or leave it out of PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and pip.conf",
        )
    if asked.returncode:
        return None
    return read_report(asked.stdout, f"{version}+cpu")


def read_report(report: str, version: str) -> CpuBuild | None:
    """The build in pip's report, if it is the one asked for and its index states a sha256."""
    start = report.find("{")
    if start < 0:
        return None
    for item in json.loads(report[start:]).get("install", []):
        source = item.get("download_info", {})
        archive = source.get("archive_info", {})
        stated = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
        found = item.get("metadata", {})
        if (
            found.get("name") == "torch"
            and found.get("version") == version
            and re.fullmatch("[0-9a-f]{64}", stated)
        ):
            return CpuBuild(version, source.get("url", ""), stated)
    return None
