"""Text that no run learns from: documents of the Python standard library, kept apart by a hash of their names.

Training and the gate of publishing share this rule, so a model that was trained here is judged on unseen documents.
"""

import hashlib
import sysconfig
from pathlib import Path

HELD_OUT_PERCENT = 7
EXCERPT_BYTES = 1536  # about 430 tokens of a large vocabulary: one window of any model that is served


def is_held_out(name: str) -> bool:
    """Whether the document of this name belongs to the held-out side; depends on nothing else."""
    return _hash(name) % 100 < HELD_OUT_PERCENT


def held_out_excerpts(at_least: int) -> list[str]:
    """Pieces of held-out ASCII sources of the standard library, `at_least` bytes together, from as many as possible.

    They depend on the Python version, so quality is compared within one run only. Raises ValueError when the
    standard library has less.
    """
    return _excerpts(at_least, held_out=True)


def calibration_excerpts(at_least: int) -> list[str]:
    """The same of all other sources: what is tuned on these is judged on those. Raises ValueError likewise."""
    return _excerpts(at_least, held_out=False)


def _excerpts(at_least: int, held_out: bool) -> list[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.py")]
    names = [name for name in names if is_held_out(name) == held_out and "-packages" not in name]
    pieces: list[tuple[int, int, str]] = []
    for name in names:
        content = (root / name).read_bytes()
        if content.isascii():  # a byte is then a character, whatever the vocabulary
            text = content.decode()
            pieces += [
                (start, _hash(name), text[start : start + EXCERPT_BYTES])
                for start in range(0, len(text), EXCERPT_BYTES)
            ]
    chosen: list[str] = []
    size = 0
    for *_, text in sorted(pieces):  # the first piece of every document, then the second
        if size >= at_least:
            return chosen
        chosen.append(text)
        size += len(text)
    if size < at_least:
        raise ValueError(f"{root}: {size} bytes of such sources, {at_least} are needed; install its *.py")
    return chosen


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
