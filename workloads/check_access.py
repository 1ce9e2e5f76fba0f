"""Check that this process may use folders of tiers, before a workload with the same identity starts:

    python -m workloads.check_access --read URI --write URI

A grant takes effect some time after the call that makes it, and on EKS a pod that starts before its association never
gets credentials. `--read` lists a folder and reads a byte of an object where there is one. `--write` also writes,
reads and removes a small object there. Each option may be given several times.
Exit codes: 0 everything was allowed, 2 an address is wrong, 69 something was refused or not reached: try again later,
in a new process.
"""

import argparse
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workloads.remote import RemoteError, asking, is_remote

ALLOWED, WRONG, UNAVAILABLE = 0, 2, 69  # sysexits.h, EX_UNAVAILABLE
PROBE = ".skerry-access-"  # lies beside published folders, never in one


def check(uri: str, *, writes: bool) -> None:
    """Use a folder of a tier in every way that a workload with this grant does.

    Raises RemoteError, which names the address and what was refused.
    """
    with asking(uri, "be listed") as (files, root):
        found = FIRST[uri.partition("://")[0]](files, root)
    if found:
        with asking(uri, "be read") as (files, _):
            files.cat_file(found, start=0, end=1)
    if writes:
        _write(uri)


def _write(uri: str) -> None:
    name = f"{PROBE}{uuid.uuid4().hex}"
    content = name.encode()
    with asking(uri, "be written") as (files, root):
        files.pipe_file(f"{root}/{name}", content)
    try:
        with asking(uri, "be read") as (files, root):
            files.cat_file(f"{root}/{name}")
    finally:
        with asking(uri, "have an object removed") as (files, root):
            files.rm_file(f"{root}/{name}")


def _first_of_s3(files: Any, root: str) -> str | None:
    bucket, _, folder = root.partition("/")
    prefix = f"{folder}/" if folder else ""
    listed = files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    return next((f"{bucket}/{found['Key']}" for found in listed.get("Contents", ())), None)


def _first_of_gs(files: Any, root: str) -> str | None:
    bucket, _, folder = root.partition("/")
    prefix = f"{folder}/" if folder else ""
    listed = files.call("GET", "b/{}/o", bucket, prefix=prefix, maxResults=1, json_out=True)
    return next((f"{bucket}/{found['name']}" for found in listed.get("items", ())), None)


FIRST: Mapping[str, Callable[[Any, str], str | None]] = {"s3": _first_of_s3, "gs": _first_of_gs}
"""Scheme -> one object of a folder, by a single request: a folder may hold millions."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.check_access", description="Check that folders of tiers can be used."
    )
    parser.add_argument("--read", action="append", default=[], help="address of a folder to list and read")
    parser.add_argument(
        "--write", action="append", default=[], help="address of a folder to list, read and write"
    )
    options = parser.parse_args(argv)
    for uri in (*options.read, *options.write):
        if not is_remote(uri):
            print(
                f"check_access: {uri!r} is no s3:// or gs:// address of a folder; give one", file=sys.stderr
            )
            return WRONG
    try:
        for uri in options.read:
            check(uri, writes=False)
        for uri in options.write:
            check(uri, writes=True)
    except RemoteError as error:
        print(f"check_access: {error}", file=sys.stderr)
        return UNAVAILABLE
    return ALLOWED


if __name__ == "__main__":
    sys.exit(main())
