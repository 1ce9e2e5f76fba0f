"""The documents under any address that fsspec reaches: files of text, lines of JSON, rows of CSV and Parquet.

A document has a name that does not depend on where its source lies: the file's relative path, and for one of many in a
file, its number after a `#`. Documents come in the order of their names' files, so two readings of the same source are
the same. Left out: near-duplicates are not looked for.
"""

import sysconfig
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import BinaryIO, cast

from fsspec.core import url_to_fs

from workloads.held_out import HELD_OUT_PERCENT, is_held_out
from workloads.training.flags import ConfigError
from workloads.training.records import texts

INSTALLED = {
    "site-packages",
    "dist-packages",
}  # differ between machines, so they are not the standard library

HIDDEN = (".", "_")
"""How names begin of what programs keep beside data: .git, .env, _SUCCESS, _temporary."""

REFUSE, SKIP = "refuse", "skip"
"""What becomes of a record without a text."""


def documents(
    source: str, pattern: str, field: str, left_out: Counter[str], unusable: str = REFUSE
) -> Iterator[tuple[str, bytes]]:
    """Name and UTF-8 text of every document under `source` (empty: Python's standard library).

    Files are those whose name matches `pattern`, without hidden ones (see `hidden`). `field` is the column of JSON
    lines, CSV and Parquet that holds the text. `left_out` counts hidden files, and, where `unusable` is SKIP, records
    without a text, each by its reason.
    Raises ConfigError when the source cannot be reached or a file cannot be read.
    """
    shown = f"source={source!r}, pattern={pattern!r}"

    def skipped(reason: str) -> None:
        left_out[reason] += 1

    try:
        files, root = url_to_fs(source or sysconfig.get_paths()["stdlib"])
        paths = sorted(files.find(root))
    except Exception as error:
        raise ConfigError(
            f"{shown}: cannot be listed ({_words(error)}); give a folder or object prefix that exists and that "
            "this machine may read"
        ) from error
    for path in paths:
        inside = path.removeprefix(root).lstrip("/")
        relative = inside or path.rpartition("/")[2]
        if source and hidden(inside, pattern):  # the standard library has none, and many a module named so
            skipped("hidden")
            continue
        parts = relative.split("/")
        if not fnmatch(parts[-1], pattern) or INSTALLED & set(parts):
            continue
        try:
            with files.open(path, "rb", compression="infer") as stream:
                told = skipped if unusable == SKIP else None
                yield from texts(relative, cast(BinaryIO, stream), field, told)
        except Exception as error:  # every store and every compression has exceptions of its own
            raise ConfigError(
                f"{shown}: cannot read {relative} ({_words(error)}); repair it, make it readable or narrow the pattern"
            ) from error


def hidden(inside: str, pattern: str) -> bool:
    """Whether a part of this path begins as hidden names do. A `pattern` that begins so asks for such files."""
    *folders, name = inside.split("/")
    asked = name.startswith(HIDDEN) and pattern[:1] == name[:1]
    return any(folder.startswith(HIDDEN) for folder in folders) or (name.startswith(HIDDEN) and not asked)


def sides(found: Iterator[tuple[str, bytes]]) -> Iterator[tuple[bool, str, bytes]]:
    """Each document with whether it is held out; the sides are drawn by names.

    Few documents may all fall on one side. Then the last one that can be is cut in two, and its tail, HELD_OUT_PERCENT
    of all text where it has as much, is the held-out side: it is called NAME#tail.
    """
    total, seen = 0, {True: 0, False: 0}  # bytes; documents of each side
    waiting: list[tuple[bool, str, bytes]] = []  # the last document that can be cut, and empty ones behind it
    for name, content in found:
        side = is_held_out(name)
        total += len(content)
        seen[side] += 1
        if len(content) > 1:
            yield from waiting
            waiting = []
        waiting.append((side, name, content))
    _, name, content = waiting[0] if waiting else (False, "", b"")
    if len(content) > 1 and not all(seen.values()):
        at = _cut(content, min(len(content) // 2, total * HELD_OUT_PERCENT // 100))
        waiting[:1] = (
            [(False, name, content[:at]), (True, f"{name}#tail", content[at:])] if at else waiting[:1]
        )
    yield from waiting


def _cut(content: bytes, tail: int) -> int:
    """Where a tail of about so many bytes begins: behind a line's end if one is near, never within a character."""
    at = len(content) - max(1, tail)
    line = content.rfind(b"\n", 0, at) + 1
    if line > at - max(1, tail):
        return line
    while at and content[at] & 0xC0 == 0x80:  # UTF-8's bytes within a character
        at -= 1
    return at


def _words(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
