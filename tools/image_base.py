"""A base for the images made of Debian's packages by debootstrap, for a machine that reaches no registry of images."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.builders import Builder
from tools.problem import Problem
from tools.progress import say

SUITE = "trixie"  # Debian 13: Python 3.13, as in the base that the Containerfile names
PACKAGES = ("ca-certificates", "python3", "python3-venv")
NAME = f"localhost/skerry-base:{SUITE}"
NOT_KEPT = ("./dev/*", "./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*", "./var/log/*")
MIRROR = "DEBOOTSTRAP_MIRROR"
"""Variable with a Debian mirror of your own. Without it debootstrap asks the one that it knows."""


def check() -> None:
    """Raises Problem where debootstrap cannot run."""
    if os.geteuid():
        remedy = (
            "run it as root (sudo make images BASE=debootstrap), or name a base: make images BASE_IMAGE=..."
        )
        raise Problem("BASE=debootstrap unpacks a system and needs root", remedy)
    if shutil.which("debootstrap") is None:
        raise Problem("debootstrap is not on PATH", "apt-get install debootstrap")


def make(builder: Builder) -> str:
    """Make the base in about 3 minutes and give it to the builder; its name. It is as new as its mirror, not pinned."""
    check()
    with tempfile.TemporaryDirectory() as scratch:
        system, archive = Path(scratch) / "system", Path(scratch) / "base.tar"
        say(f"images: making {NAME} of Debian {SUITE}")
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(system)]
        _run([*command, *filter(None, [os.environ.get(MIRROR, "")])])
        _run(["tar", "-C", str(system), *(f"--exclude={one}" for one in NOT_KEPT), "-cf", str(archive), "."])
        (Path(scratch) / "Containerfile").write_text("FROM scratch\nADD base.tar /\n")
        shutil.rmtree(system)
        _run([*builder.build, "--tag", NAME, scratch])
    return NAME


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        said = "\n".join("    " + line for line in done.stdout.splitlines()[-8:])
        raise Problem(
            f"{command[0]} failed:\n{said}", f"see its message; {MIRROR} names another Debian mirror"
        )
