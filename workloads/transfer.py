"""Copy a published folder from one tier to another:

    python -m workloads.transfer --source URI --output URI

Each is a path, file://, s3:// or gs:// address. The copy is seen whole or not at all (see remote.py); what comes from
an object store is checked against its manifest on the way. Whoever loads the copy checks its digest.
Exit codes: 0 copied, 1 an object store cannot be reached or a disk is full, 2 the source is not there, or the output
cannot be made or holds what was not published, 3 the source is not what its manifest says, or has none.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from workloads.manifest import MANIFEST, ManifestError, OutputRefused, listed
from workloads.remote import (
    RemoteError,
    check_apart,
    check_output,
    download,
    is_remote,
    publishing,
    read_manifest,
)

COPIED, UNREACHABLE, MISSING, REFUSED, BAD_MANIFEST = 0, 1, 2, 2, 3


def transfer(source: str, output: str) -> None:
    """Copies `source` to `output`, which is replaced.

    Raises SourceMissing, OutputRefused, ManifestError, RemoteError, OSError; the output is then untouched, unless
    writing to an object store failed.
    """
    check_apart(output, source=source)
    manifest = read_manifest(source) if is_remote(source) else _manifest(_folder(source))
    place = output if is_remote(output) else _folder(output)
    check_output(place)
    with publishing(place) as folder:
        if is_remote(source):
            download(source, folder, manifest)
        else:
            shutil.copytree(_folder(source), folder, dirs_exist_ok=True)


class SourceMissing(Exception):
    """There is no folder where the source should be."""


def _manifest(source: Path) -> bytes:
    """The manifest of a folder of this machine. Raises SourceMissing, ManifestError when it was never published."""
    if not source.is_dir():
        raise SourceMissing
    try:
        manifest = (source / MANIFEST).read_bytes()
        listed(manifest)
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"{source / MANIFEST}: expected the manifest of a published folder ({error}); give one as --source, or "
            "publish it first"
        ) from error
    return manifest


def _folder(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m workloads.transfer", description="Copy a folder.")
    parser.add_argument("--source", required=True, help="address of the folder to copy")
    parser.add_argument(
        "--output", required=True, help="address of the folder to make; replaced if it exists"
    )
    options = parser.parse_args(argv)
    try:
        transfer(options.source, options.output)
    except SourceMissing:
        print(
            f"transfer: --source: {options.source!r} does not exist. Publish the model version again.",
            file=sys.stderr,
        )
        return MISSING
    except OutputRefused as error:
        print(f"transfer: {error}", file=sys.stderr)
        return REFUSED
    except (ManifestError, RemoteError) as error:
        print(f"transfer: {error}", file=sys.stderr)
        return BAD_MANIFEST if isinstance(error, ManifestError) else UNREACHABLE
    except OSError as error:
        print(f"transfer: {error}; make room for --output, or give another place", file=sys.stderr)
        return UNREACHABLE
    return COPIED


if __name__ == "__main__":
    sys.exit(main())
