"""Copies a folder from one tier to another, whole or not at all.

    python -m components.local.transfer --source URI --output file://FOLDER

The copy is written beside its destination and renamed; whoever loads it checks the digest.
"""

from __future__ import annotations

import argparse
import shutil
import sys

import fsspec

from components.local.provider.digests import folder_of


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="fsspec URI of the folder to copy")
    parser.add_argument("--output", required=True, help="file:// URI of the folder to make")
    options = parser.parse_args(arguments)
    destination = folder_of(options.output)
    partial = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(destination, ignore_errors=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    # fsspec takes a file:// URI's percent signs literally.
    source = str(folder_of(options.source)) if options.source.startswith("file://") else options.source
    filesystem, path = fsspec.url_to_fs(source)
    try:
        filesystem.get(path.rstrip("/") + "/", f"{partial}/", recursive=True)
    except FileNotFoundError:
        shutil.rmtree(partial, ignore_errors=True)
        sys.exit(f"--source: {options.source!r} does not exist. Publish the model version again (`make up`).")
    partial.rename(destination)


if __name__ == "__main__":
    main(sys.argv[1:])
