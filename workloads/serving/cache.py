"""Which part of the key/value cache belongs to whom: fixed blocks of positions, shared where prompts agree.

Pure bookkeeping, no tensors. A block of BLOCK_TOKENS positions is in one of three states: held by sequences
(a reference count), kept (nobody holds it, but its content may serve a later prompt that begins alike), or
free. A sequence is given every block that it can ever need when it is let in, so it never waits for memory in
its middle and nothing is ever thrown out of it; kept blocks are given up, the longest unused first.
"""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

BLOCK_TOKENS = 16  # shared prefixes are found in steps of this; vLLM's default too
ROOT = b"\0"  # stands before the first block


class Blocks:
    """`count` blocks and who holds them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._holders = [0] * count
        self._free = list(range(count - 1, -1, -1))  # a stack: what was touched last is used again first
        self._kept: OrderedDict[int, None] = OrderedDict()  # the longest unused first
        self._by_content: dict[bytes, int] = {}
        self._content: list[bytes | None] = [None] * count
        # the prompt asked for last, which may be waiting, and its digests
        self._asked: tuple[Sequence[int], list[bytes]] = [], []

    @property
    def available(self) -> int:
        """Blocks that a new sequence could be given."""
        return len(self._free) + len(self._kept)

    @property
    def usage(self) -> float:
        """Share of the blocks that sequences hold, 0 to 1."""
        return 1 - self.available / self.count

    def take(self, prompt: Sequence[int], positions: int) -> tuple[list[int], int] | None:
        """Blocks for `positions` positions that begin with `prompt`, and how many of them are filled already.

        None when so many are not available; nothing has changed then, and to ask again for the same list is cheap.
        At least one token of the prompt is always left to compute: the answer begins with its scores.
        """
        if self._asked[0] is not prompt:
            self._asked = prompt, contents(prompt[:-1])
        shared: list[int] = []
        for content in self._asked[1]:
            if (block := self._by_content.get(content)) is None:
                break
            shared.append(block)
        fresh = blocks_for(positions) - len(shared)
        if fresh > self.available - sum(self._holders[block] == 0 for block in shared):
            return None
        for block in shared:
            self._holders[block] += 1
            self._kept.pop(block, None)
        return shared + [self._fresh() for _ in range(fresh)], len(shared)

    def filled(self, block: int, content: bytes) -> None:
        """`block` now holds `content`, and other sequences may share it; the first of equals is shared."""
        if content not in self._by_content:
            self._by_content[content] = block
            self._content[block] = content

    def give_back(self, blocks: Sequence[int]) -> None:
        """One sequence less holds each of `blocks`."""
        for block in reversed(blocks):  # the end of a prompt is less likely to be shared than its beginning
            self._holders[block] -= 1
            if self._holders[block] == 0:
                if self._content[block] is None:
                    self._free.append(block)
                else:
                    self._kept[block] = None

    def _fresh(self) -> int:
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._kept.popitem(last=False)
            content, self._content[block] = self._content[block], None
            if content is not None:
                del self._by_content[content]
        self._holders[block] = 1
        return block


def blocks_for(positions: int) -> int:
    """Blocks that hold `positions` positions."""
    return -(-positions // BLOCK_TOKENS)


def contents(tokens: Sequence[int], after: bytes = ROOT) -> list[bytes]:
    """One digest per full block of `tokens`, each over the block and all before it (`after`).

    A digest, not Python's hash: two prompts that collide would read each other's text.
    """
    digests = []
    for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        block = array("q", tokens[start : start + BLOCK_TOKENS]).tobytes()
        after = blake2b(after + block, digest_size=16).digest()
        digests.append(after)
    return digests
