"""Copy a folder from one tier to another:

    python -m workloads.transfer --source URI --output URI

Both are fsspec URIs. A copy on a file system is written beside its destination and renamed; in an object store
`manifest.json`, without which nobody loads the folder, is written last. Whoever loads the copy checks its digest.
Exit codes: 0 copied, 2 the source is not there.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import fsspec

COPIED, MISSING = 0, 2
MANIFEST = "manifest.json"


def transfer(source: str, output: str) -> None:
    """Copies `source` to `output`, which is replaced.

    Raises:
        FileNotFoundError: the source does not exist; the output is then untouched.
    """
    if not output.startswith("file://"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "folder"
            _fetch(source, folder)
            _store(folder, output)
        return
    destination = _folder(output)
    partial = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _fetch(source, partial)
        shutil.rmtree(destination, ignore_errors=True)
        partial.rename(destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch(source: str, folder: Path) -> None:
    # fsspec takes a file:// URI's percent signs literally.
    filesystem, path = fsspec.url_to_fs(str(_folder(source)) if source.startswith("file://") else source)
    if not filesystem.isdir(path):
        raise FileNotFoundError(source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    filesystem.get(path.rstrip("/") + "/", f"{folder}/", recursive=True)


def _store(folder: Path, output: str) -> None:
    filesystem, path = fsspec.url_to_fs(output)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for file in sorted(files, key=lambda file: file.name == MANIFEST):
        filesystem.put_file(str(file), f"{path.rstrip('/')}/{file.relative_to(folder).as_posix()}")


def _folder(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m workloads.transfer", description="Copy a folder.")
    parser.add_argument("--source", required=True, help="fsspec URI of the folder to copy")
    parser.add_argument(
        "--output", required=True, help="fsspec URI of the folder to make; replaced if it exists"
    )
    options = parser.parse_args(argv)
    try:
        transfer(options.source, options.output)
    except FileNotFoundError:
        print(
            f"transfer: --source: {options.source!r} does not exist. Publish the model version again.",
            file=sys.stderr,
        )
        return MISSING
    return COPIED


if __name__ == "__main__":
    sys.exit(main())
