"""The user's pip settings as secrets of a build: there while it runs, and in no layer of the image."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tools.progress import say

FOR_A_BUILD = (
    *("index-url", "extra-index-url", "trusted-host", "no-index"),
    *("proxy", "timeout", "default-timeout", "retries"),
)
"""Settings that mean inside a build what they mean outside: none that names a file of this machine."""
CERTIFICATES = "cert"
INSIDE = "/run/secrets"


def secrets(folder: Path) -> list[str]:
    """Arguments of a build that hands over pip's settings, written to `folder`, which only we can read.

    The certificates go as a file of their own.
    """
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    if asked.returncode:
        say(f"images: {sys.executable} has no pip, so the build is given no settings of one")
    lines, arguments = ["[global]"], []
    for key, value in settings(asked.stdout).items():
        if key == CERTIFICATES:
            arguments += ["--secret", f"id=ca.crt,src={value}"]
            lines.append(f"cert = {INSIDE}/ca.crt")
        elif key in FOR_A_BUILD:
            lines.append(f"{key} = {value}")
    config = folder / "pip.conf"
    config.write_text("\n".join(lines) + "\n")
    return ["--secret", f"id=pip.conf,src={config}", *arguments]


def settings(told: str) -> dict[str, str]:
    """`pip config list` as a table; a variable outdoes a file, as it does in pip."""
    rows = re.findall(r"(?m)^(global|install|:env:)\.([a-z-]+)='(.*)'$", told)
    strength = ("global", "install", ":env:")
    return {key: value for _, key, value in sorted(rows, key=lambda row: strength.index(row[0]))}
