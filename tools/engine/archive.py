"""Way 2: the official release archive. Its digest is pinned; nothing is unpacked unchecked.

It comes from the site in `releases.json`, or from a mirror of it that SKERRY_ENGINE_MIRROR names.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import platform
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from tools.engine.way import Made, NotServed, Place
from tools.progress import beating

CONNECT_TIMEOUT_S = 5  # a machine without the site must fall on quickly
READ_TIMEOUT_S = 60  # a site that has answered may stall: waiting is cheaper than a build
HEARTBEAT_S = 10
CHUNK = 1 << 16
MB = 1e6
MIRROR = "reach the release site, or name a mirror of it in SKERRY_ENGINE_MIRROR"


def fetch(place: Place) -> Made:
    """The official engine for this machine."""
    releases = json.loads((place.pins / "releases.json").read_text())
    row = releases["archives"].get(platform.machine())
    if row is None:
        raise NotServed(
            f"no official archive is pinned for {platform.machine()}", "use an x86_64 or aarch64 machine"
        )
    url = f"{(place.mirror or releases['site']).rstrip('/')}/{row['path']}"
    file = place.partial / "archive.tar.gz"
    download(url, file)
    digest = sha256(file)
    if digest != row["sha256"]:
        raise NotServed(
            f"{url} has sha256 {digest}, not the pinned {row['sha256']}; nothing of it was unpacked",
            "have the mirror serve the official archive unchanged",
        )
    unpack(file, place.bin)
    file.unlink()
    return Made("archive", releases["version"], f"{url} sha256:{digest}")


class Connection(http.client.HTTPConnection):
    """A connection that is more patient once it stands."""

    def connect(self) -> None:
        """Connect, then wait longer for what is said."""
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class SecureConnection(http.client.HTTPSConnection):
    """The same over TLS."""

    def connect(self) -> None:
        """Connect, then wait longer for what is said."""
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class Opener(urllib.request.HTTPHandler):
    """Opens http with our connection."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """As urllib does it."""
        return self.do_open(Connection, req)


class SecureOpener(urllib.request.HTTPSHandler):
    """Opens https with our connection."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """As urllib does it."""
        return self.do_open(SecureConnection, req)


def download(url: str, file: Path) -> None:
    """Fetch a file whole; a short one is an error."""
    got = 0
    opener = urllib.request.build_opener(Opener, SecureOpener)
    try:
        with opener.open(url, timeout=CONNECT_TIMEOUT_S) as answer, file.open("wb") as out:
            expected = answer.headers.get("Content-Length")
            whole = "" if expected is None else f" of {int(expected) / MB:.1f}"
            with beating(lambda _: f"engine: fetched {got / MB:.1f}{whole} MB from {url}", HEARTBEAT_S):
                while chunk := answer.read(CHUNK):
                    got += out.write(chunk)
            if expected is not None and got != int(expected):
                raise NotServed(f"{url} broke off after {got} of {expected} bytes", "try again; " + MIRROR)
    except urllib.error.HTTPError as error:
        raise NotServed(f"{url} answers {error.code} {error.reason}", MIRROR) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        told = getattr(error, "reason", None) or error
        raise NotServed(f"{url} cannot be fetched: {told}", MIRROR) from error


def sha256(file: Path) -> str:
    """A file's digest."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def unpack(file: Path, into: Path) -> None:
    """The archive's executables, which lie in one folder of it, into ours."""
    try:
        with tarfile.open(file) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            for member in members:
                member.name = Path(member.name).name
            if hasattr(tarfile, "data_filter"):
                archive.extractall(into, members=members, filter="data")
            else:  # Python before 3.11.4: only regular files, bare names
                archive.extractall(into, members=members)
    except (tarfile.TarError, OSError) as error:
        raise NotServed(f"the archive cannot be unpacked: {error}", MIRROR) from error
    for name in ("pulumi", "pulumi-language-python"):
        if not (into / name).exists():
            raise NotServed(f"the archive holds no {name}", MIRROR)
        (into / name).chmod(0o755)
