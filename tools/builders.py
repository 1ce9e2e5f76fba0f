"""Programs that build images: podman and buildah, which take the same arguments."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.problem import Problem


@dataclass(frozen=True)
class Builder:
    """A builder on this machine."""

    name: str
    path: str

    @property
    def build(self) -> list[str]:
        """The beginning of a command that builds."""
        return [self.path, "build"]

    def store(self) -> Path:
        """The folder that images are kept in. Raises Problem when the builder does not work here."""
        command = [self.path, "info", *(["--format", "json"] if self.name == "podman" else [])]
        told = subprocess.run(command, capture_output=True, text=True)
        if told.returncode:
            what = f"`{' '.join(command)}` failed:\n    {told.stderr.strip()}"
            raise Problem(
                what, f"make `{self.name} info` work; rootless use needs newuidmap (apt-get install uidmap)"
            )
        # podman writes graphRoot, buildah GraphRoot.
        return Path(
            {key.lower(): value for key, value in json.loads(told.stdout)["store"].items()}["graphroot"]
        )


KNOWN = ("podman", "buildah")


def find(wanted: str, path: str) -> Builder:
    """The builder named, or the first of those known that is on `path`."""
    if wanted and wanted not in KNOWN:
        raise Problem(f"--builder {wanted!r} is not known", f"write one of {', '.join(KNOWN)}")
    names = (wanted,) if wanted else KNOWN
    for name in names:
        if found := shutil.which(name, path=path):
            return Builder(name, found)
    raise Problem(
        f"{' or '.join(names)}, which builds images, is not on PATH",
        "apt-get install podman (Debian, Ubuntu), dnf install podman (Fedora), brew install podman (macOS)",
    )
