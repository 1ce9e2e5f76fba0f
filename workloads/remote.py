"""Published folders in object stores: seen whole or not at all, and read from a copy on this machine.

An object store renames nothing. So a folder's manifest goes first when it is replaced and comes last when it is
written: while it is not there, nobody takes the rest for a folder. Meanwhile an object tells the next writer which of
the rest a publication that broke off left; what neither lists is not ours, and nothing is published there. A reader
checks every file against the manifest, and keeps the folder under the manifest's digest: there it is mapped into memory
like any other, and fetched once.

Endpoints and credentials come from where the clients look for them: AWS_ENDPOINT_URL, STORAGE_EMULATOR_HOST,
AWS_PROFILE, the pod's own identity. Nothing is removed from the copies (in SKERRY_CACHE, else beside temporary files).
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from fsspec import register_implementation
from fsspec.core import url_to_fs

from workloads.manifest import (
    MANIFEST,
    ManifestError,
    OutputRefused,
    listed,
    publish_atomically,
    refuse_foreign,
    refuse_unpublished,
    refuse_unwritable,
    verify_manifest,
)

UNFINISHED = "manifest.json.unfinished"  # lies beside the files while they are written, and lists them
SCHEMES = ("s3", "gs")
ALIASES = {"gcs": "gs", "s3a": "s3"}  # what fsspec also calls them
FRESH = {"use_listings_cache": False}  # others write there too: what was listed a minute ago is no answer

for _scheme in ("s3", "s3a"):  # imported when an address asks for it
    register_implementation(
        _scheme, "workloads.s3.FolderS3FileSystem", clobber=True, errtxt="Install s3fs to access S3"
    )
# gcsfs would ask another service which kind of bucket it meets; every bucket here is a flat one.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


class RemoteError(Exception):
    """An object store did not do what was asked; the message names the address and what to look at."""


def is_remote(uri: str) -> bool:
    """Whether the address is one of an object store."""
    return urlsplit(uri).scheme in SCHEMES


def open_address(uri: str) -> tuple[Any, str]:
    """The file system behind an address, and the path there. Reaches nothing yet.

    Raises ValueError for an address with credentials in it, which would be in every list of processes and every log,
    or one that no file system serves; ImportError when what serves it is not installed.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        uri = unquote(parts.path)  # fsspec takes what is quoted there for the name itself
    if "@" in parts.netloc:
        raise ValueError(
            f"an address {parts.scheme}://...@...: credentials do not belong in it; give them by the environment"
        )
    return url_to_fs(uri.rstrip("/"), **FRESH)


@contextmanager
def publishing(place: Path | str) -> Iterator[Path]:
    """Yield an empty local folder; on success it is published at `place`, on an exception it goes.

    `place` is a local folder, or the address of one in an object store. Raises RemoteError; OutputRefused when there
    is something that was not published.
    """
    if isinstance(place, Path):
        with publish_atomically(place) as partial:
            yield partial
        return
    with tempfile.TemporaryDirectory(prefix="skerry-") as scratch:
        yield Path(scratch)
        _upload(Path(scratch), place)


def check_output(place: Path | str) -> None:
    """Raise OutputRefused where `publishing` would find something that was not published, or, on this machine, a place
    that it cannot write to; RemoteError."""
    if isinstance(place, Path):
        refuse_unwritable(place)
        refuse_unpublished(place)
        return
    with asking(place, "be looked at") as (files, root):
        _objects(place, files, root)


def _objects(place: str, files: Any, root: str) -> set[str]:
    """What lies at an address, all of it published there. Raises OutputRefused when something was not."""
    names = {path.removeprefix(f"{root}/") for path in files.find(root) if path.startswith(f"{root}/")} - {""}
    manifest, unfinished = (
        files.cat_file(f"{root}/{name}") if name in names else b"" for name in (MANIFEST, UNFINISHED)
    )
    left = json.loads(unfinished or b"[]")
    refuse_foreign(place, names, manifest, also=[UNFINISHED, *left])
    return names


def check_apart(output: str, **others: str) -> None:
    """Raise OutputRefused when `output` is, holds or lies in a place with another use (name: address)."""
    mine = place_of(output)
    for name, other in others.items():
        theirs = place_of(other) if other else None
        if theirs and (mine.is_relative_to(theirs) or theirs.is_relative_to(mine)):
            raise OutputRefused(
                f"output={output!r}: is, holds or lies in {name}={other!r}, and publishing removes what was at the "
                "output before; give a folder beside it"
            )


def place_of(uri: str) -> PurePath:
    """An address as a path, whatever it is written like; that of an object store meets no local one."""
    scheme, found, rest = uri.partition("://")
    if uri.startswith(("file:", "local:")):
        return Path(unquote(urlsplit(uri).path)).resolve()
    return PurePosixPath(f"{ALIASES.get(scheme, scheme)}://{rest}") if found else Path(uri).resolve()


def _upload(folder: Path, uri: str) -> None:
    names = sorted(
        (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()),
        key=lambda name: (name == MANIFEST, name),
    )
    with asking(uri, "be written") as (files, root):
        before = _objects(uri, files, root) - {UNFINISHED}
        files.pipe_file(f"{root}/{UNFINISHED}", json.dumps(sorted(before.union(names))).encode())
        for name in sorted(before, key=lambda name: name != MANIFEST):
            if name == MANIFEST or name not in names:
                files.rm_file(f"{root}/{name}")
        for name in names:
            files.put_file(str(folder / name), f"{root}/{name}")
        files.rm_file(f"{root}/{UNFINISHED}")


def fetch(uri: str, digest: str = "") -> Path:
    """The published folder behind an address as a folder of this machine, every byte of it checked.

    Of several processes one fetches and the others wait; what a killed one has fetched is not fetched again. With
    `digest` (`sha256:<hex>` of the manifest) a folder that is here already is used without asking the store. Raises
    ManifestError, naming the object, when one is missing, altered or the digest is another; RemoteError.
    """
    digest = digest or _digest(read_manifest(uri))
    if not re.fullmatch("sha256:[0-9a-f]{64}", digest):
        raise ManifestError(
            f"{uri}: digest {digest!r} is none; write sha256: and 64 hex digits, or leave it out"
        )
    folder = _cache() / digest.removeprefix("sha256:")
    for is_right in (Path.exists, _is_whole):  # the long look is outside of the lock: many may look at once
        if not is_right(folder):
            with _alone(folder):
                if not is_right(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    partial = folder.with_name(f"{folder.name}.partial")
                    download(uri, partial, read_manifest(uri, digest))
                    partial.rename(folder)
    return folder


def read_manifest(uri: str, digest: str = "") -> bytes:
    """The manifest of a published folder. Raises ManifestError when there is none, or another; RemoteError."""
    with asking(uri, "be read") as (files, root):
        try:
            content = files.cat_file(f"{root}/{MANIFEST}")
        except FileNotFoundError as error:
            raise ManifestError(
                f"{uri}/{MANIFEST}: expected the manifest of a published folder, found none; give the address of one, "
                "or publish it again: a folder is complete when its manifest is there"
            ) from error
    if digest and _digest(content) != digest:
        raise ManifestError(
            f"{uri}/{MANIFEST}: expected digest {digest}, found {_digest(content)}: this is another folder than "
            "the one asked for; give the right address, or the digest found if it is meant"
        )
    return content


def download(uri: str, folder: Path, manifest: bytes) -> None:
    """Copy what `manifest` lists from an address into a local folder, keeping what is there already and right.

    Raises ManifestError, naming the object, when one is missing or altered; RemoteError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, sha256 in _listing(uri, manifest).items():
        path = folder / name
        if path.is_file() and _sha256(path) == sha256:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with asking(uri, f"be read ({name})") as (files, root):
            try:
                files.get_file(f"{root}/{name}", str(path))
            except FileNotFoundError as error:
                raise ManifestError(
                    f"{uri}/{name}: listed in {MANIFEST} but missing; publish the folder again"
                ) from error
        if (found := _sha256(path)) != sha256:
            path.unlink()
            raise ManifestError(
                f"{uri}/{name}: expected sha256 {sha256}, found {found}: its content was altered, or is being replaced "
                "now; try again, then publish the folder again"
            )
    (folder / MANIFEST).write_bytes(manifest)


def _listing(uri: str, manifest: bytes) -> dict[str, str]:
    """Name and SHA-256 of each file; no name leads out of the folder."""
    try:
        listing = {name: sha256 for name, (_, sha256) in listed(manifest).items()}
    except ValueError as error:
        raise ManifestError(f"{uri}/{MANIFEST}: {error}; publish the folder again") from error
    for name in listing:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ManifestError(
                f"{uri}/{MANIFEST}: lists {name!r}, which is outside of the folder; do not trust it"
            )
    return listing


def _is_whole(folder: Path) -> bool:
    with suppress(ManifestError):
        verify_manifest(folder, f"sha256:{folder.name}")
        return True
    return False


@contextmanager
def asking(uri: str, what: str) -> Iterator[tuple[Any, str]]:
    """Turn what a store's client raises, each its own kinds, into RemoteError."""
    try:
        yield open_address(uri)
    except (ManifestError, OutputRefused):
        raise
    except Exception as error:
        raise RemoteError(
            f"{uri}: cannot {what} ({type(error).__name__}: {error}); look whether the bucket exists, whether this "
            "machine may use it, and at AWS_ENDPOINT_URL or STORAGE_EMULATOR_HOST where it is not the cloud's own"
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock goes with its holder, however that one ends."""
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cache() -> Path:
    """The folder of copies: SKERRY_CACHE, or this user's own among the temporary files."""
    given = os.environ.get("SKERRY_CACHE")
    root = Path(given) if given else Path(tempfile.gettempdir()) / f"skerry-{os.getuid()}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not given and (root.is_symlink() or root.stat().st_uid != os.getuid()):
        raise RemoteError(f"{root}: belongs to another user; set SKERRY_CACHE to a folder of your own")
    return root


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
