"""The self-describing manifest of a model folder, and the only way such a folder is published.

A folder is published whole or not at all: it is written beside its destination and renamed into place. Its
`manifest.json` lists every other file with size and SHA-256, except the papers and what a compiler made. So the digest
of that one small file names the exact content of the model. Integrity only: whoever can rewrite the manifest can also
rewrite its digest, so a reader who must not trust the storage compares with a digest that came another way
(`expected_digest`).
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MANIFEST = "manifest.json"
COMPILE_CACHE = "compile-cache"
"""A folder beside the files, outside the digest: what a compiler made of the model on one kind of machine. It is native
code that nothing vouches for: whoever may write there may run code in whatever loads it. So nothing here reads it, and
a server has to be told to (decision 0015)."""
PAPERS = ("README.md", "record.json")
"""The model card and the record of a run, outside the digest: they hold times, so that no two runs have the same. The
digest of a training's export is that of the model: the same for the same settings, data and code."""


class ManifestError(Exception):
    """A model folder is not what its manifest says; the message names the file and the remedy."""


class OutputRefused(Exception):
    """Publishing at a place would remove what was never published there; the message names it and the remedy."""


def write_manifest(folder: Path, **facts: object) -> str:
    """Write `folder`/manifest.json over the files now in `folder` and return its digest (`sha256:<hex>`).

    `facts` (JSON values) become further top-level keys. Same files and facts give the same bytes.
    Raises ValueError for a fact called "files", which would hide the listing, and for a number that JSON has not (NaN).
    """
    if "files" in facts:
        raise ValueError(
            'write_manifest: a fact cannot be called "files", the listing uses that key; rename it'
        )
    listing = {
        name: {"sha256": _sha256(path), "bytes": path.stat().st_size}
        for name, path in _files(folder).items()
        if not _is_outside(name)
    }
    text = json.dumps({"files": listing, **facts}, sort_keys=True, indent=2, allow_nan=False) + "\n"
    with open(folder / MANIFEST, "w", encoding="utf-8", newline="\n") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    return manifest_digest(folder)


def manifest_digest(folder: Path) -> str:
    """The name of the folder's exact content: `sha256:` and the hex digest of the bytes of its manifest.

    Raises ManifestError when there is no manifest.
    """
    return _digest(_manifest_bytes(folder))


def verify_manifest(
    folder: Path, expected_digest: str | None = None, hashed_later: Collection[str] = ()
) -> dict:
    """Check every file of `folder` against its manifest and return the parsed manifest.

    Raises ManifestError when the manifest is absent or unreadable, its digest is not `expected_digest` (where
    given), or a file is missing, extra, of another size or of other content. Reads every byte of the folder, but
    for the files `hashed_later`: of those only the size is checked here, and the caller hashes the bytes that it uses.
    """
    raw = _manifest_bytes(folder)
    where = folder / MANIFEST
    if expected_digest is not None and _digest(raw) != expected_digest:
        raise ManifestError(
            f"{where}: expected digest {expected_digest}, found {_digest(raw)}: this is another "
            "model folder than the one asked for; give the right folder, or the digest found if it is meant"
        )
    try:
        listing = listed(raw)
    except ValueError as error:
        raise ManifestError(f"{where}: {error}; export or copy the folder again") from error
    present = _files(folder)
    for name in sorted(listing.keys() - present.keys()):
        raise ManifestError(f"{folder / name}: listed in {MANIFEST} but missing; copy the whole folder again")
    for name in sorted(present.keys() - listing.keys()):
        if _is_outside(name):
            continue
        raise ManifestError(
            f"{folder / name}: not listed in {MANIFEST}; remove it, or export again if it belongs there"
        )
    for name, (size, sha256) in sorted(listing.items()):
        found = present[name].stat().st_size
        if found != size:  # the cheap question first: a cut-off copy is found without reading gigabytes
            raise ManifestError(
                f"{folder / name}: expected {size} bytes, found {found}; copy this file again"
            )
        digest = sha256 if name in hashed_later else _sha256(present[name])
        if digest != sha256:
            raise ManifestError(
                f"{folder / name}: expected sha256 {sha256}, found {digest}: its content was altered; "
                "copy this file again, or export again if the change is meant"
            )
    return json.loads(raw)


def listed(manifest: bytes) -> dict[str, tuple[int, str]]:
    """Size in bytes and SHA-256 of each file that a manifest lists. Raises ValueError for what is none of ours."""
    try:
        return {
            name: (entry["bytes"], entry["sha256"]) for name, entry in json.loads(manifest)["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            'expected JSON with "files": {name: {"bytes", "sha256"}}, found something else '
            f"({type(error).__name__}: {error})"
        ) from error


@contextmanager
def publish_atomically(destination: Path) -> Iterator[Path]:
    """Yield an empty folder beside `destination`; on success it becomes `destination`, on an exception it
    goes.

    An existing destination is moved aside, replaced and only then removed. What a killed writer to the same
    destination left behind is cleared first; hence one writer per destination at a time.
    Missing parent folders are created; a link stays, and the folder that it leads to is replaced. Raises
    NotADirectoryError when the destination is a file, OutputRefused when it holds something that was not published.
    """
    destination = destination.resolve()
    if destination.exists() and not destination.is_dir():
        raise NotADirectoryError(
            f"{destination}: a file stands where the folder should go; remove it or go elsewhere"
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    _sweep(destination)
    refuse_unpublished(destination)
    partial, aside = _sibling(destination, "partial"), _sibling(destination, "replaced")
    partial.mkdir()  # not tempfile.mkdtemp: its mode 0700 would shut out a server's own user
    try:
        yield partial
        for folder, _, names in os.walk(partial):
            for entry in [*names, "."]:
                _fsync(Path(folder, entry))
        if destination.exists():
            os.rename(destination, aside)
        os.rename(partial, destination)
        _fsync(destination.parent)
    except BaseException:  # also KeyboardInterrupt and SystemExit: who hears of its end leaves nothing
        if aside.exists() and not destination.exists():
            os.rename(aside, destination)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def refuse_unpublished(folder: Path) -> None:
    """Raise OutputRefused for a folder with a file that was not published there, so is not ours to remove."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    names = [path.relative_to(folder).as_posix() for path in found]
    manifest = (folder / MANIFEST).read_bytes() if MANIFEST in names else b""
    refuse_foreign(str(folder), names, manifest)


def refuse_unwritable(folder: Path) -> None:
    """Raise OutputRefused where no folder can be put: found out before hours of work rather than after them."""
    folder = folder.resolve()
    said = f"output={str(folder)!r}"
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise OutputRefused(f"{said}: {path} is a file, a folder is published; remove it or go elsewhere")
    if folder.is_mount():
        raise OutputRefused(
            f"{said}: is where a volume is mounted, and publishing renames a folder into its place; give a folder in it"
        )
    above = next(path for path in folder.parents if path.exists())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".skerry-", dir=above))
    except OSError as error:
        raise OutputRefused(
            f"{said}: nothing can be written in {above} ({error.strerror}), where it is put together; make that "
            "writable for this user, or go elsewhere"
        ) from error


def refuse_foreign(place: str, names: Iterable[str], manifest: bytes, also: Iterable[str] = ()) -> None:
    """Raise OutputRefused when `place` holds a file that neither its manifest lists nor publishing put there `also`.

    Whoever publishes there removes what was there before; many programs call a file of theirs manifest.json.
    """
    ours = set(also)
    with suppress(ValueError):
        ours |= {MANIFEST, *PAPERS, *listed(manifest)}
    foreign = [name for name in names if name not in ours and not name.startswith(f"{COMPILE_CACHE}/")]
    if foreign:
        first = min(foreign, key=lambda name: (name == MANIFEST, name))
        raise OutputRefused(
            f"output={place!r}: holds {first}, which was not published there (the {MANIFEST} of a published folder "
            "lists its files), and publishing removes what was there before; give a new or an empty folder, or move "
            "away what is to be kept and empty this one"
        )


def _sibling(destination: Path, role: str) -> Path:
    return destination.with_name(f".{destination.name}.{role}-{secrets.token_hex(4)}")


def _sweep(destination: Path) -> None:
    """Clear earlier leftovers; a writer killed between the two renames has its predecessor put back first."""
    pattern = re.compile(re.escape(f".{destination.name}.") + r"(partial|replaced)-[0-9a-f]{8}")
    for path in sorted(destination.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match and match[1] == "replaced" and not destination.exists():
            os.rename(path, destination)
        elif match:
            shutil.rmtree(path)


def _files(folder: Path) -> dict[str, Path]:
    """Relative POSIX name -> path of every file but the manifest, sorted by name."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    return {name: found[name] for name in sorted(found) if name != MANIFEST}


def _is_outside(name: str) -> bool:
    """Whether a manifest lists no file of this name. Those of earlier versions list the papers, and are checked so."""
    return name in PAPERS or name.startswith(f"{COMPILE_CACHE}/")


def _manifest_bytes(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise ManifestError(
            f"{folder / MANIFEST}: expected the manifest of a model folder, found none ({error.strerror}); "
            "give the folder a training run published, or export again"
        ) from error


def _digest(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
