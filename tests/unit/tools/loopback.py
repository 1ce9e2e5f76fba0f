"""Small real things for the set-up's tests: a server on loopback, wheels, executables."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.waiting import HANG_SECONDS


@dataclass
class Site:
    """What a server serves: path -> body; a path in `broken` is cut off after half of it."""

    url: str = ""
    pages: dict[str, bytes] = field(default_factory=dict[str, bytes])
    broken: set[str] = field(default_factory=set[str])
    hanging: set[str] = field(default_factory=set[str])
    asked: list[str] = field(default_factory=list[str])
    reached: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve() -> Iterator[Site]:
    """A server on a free port of loopback."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            body = site.pages.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            half = self.path in site.broken | site.hanging
            self.wfile.write(body[: len(body) // 2] if half else body)
            if self.path in site.hanging:
                self.wfile.flush()
                site.reached.set()
                site.let_go.wait(HANG_SECONDS)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.let_go.set()
        server.shutdown()
        thread.join()
        server.server_close()


def wheel(name: str, version: str, body: str = "") -> tuple[str, bytes]:
    """A wheel's file name and its bytes."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": body or f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text)}")
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return f"{name}-{version}-py3-none-any.whl", out.getvalue()


def offer(site: Site, name: str, version: str, body: str = "", stated: str | None = None) -> str:
    """Put a wheel on a site's index; its sha256 (the index states `stated` where that is given)."""
    file, content = wheel(name, version, body)
    digest = hashlib.sha256(content).hexdigest()
    quoted = file.replace("+", "%2B")
    site.pages[f"/files/{quoted}"] = content
    page = site.pages.get(f"/simple/{name}/", b"").decode()
    page += f'<a href="/files/{quoted}#sha256={stated or digest}">{file}</a>\n'
    site.pages[f"/simple/{name}/"] = page.encode()
    return digest


def executable(path: Path, script: str) -> Path:
    """A shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


def engine_archive(version: str, names: tuple[str, ...] = ("pulumi", "pulumi-language-python")) -> bytes:
    """A release archive with scripts that say their version."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in names:
            script = f"#!/bin/sh\necho {version}\n".encode()
            member = tarfile.TarInfo(f"pulumi/{name}")
            member.size, member.mode = len(script), 0o755
            archive.addfile(member, io.BytesIO(script))
    return out.getvalue()
