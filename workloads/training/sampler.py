"""The order in which a run meets its data: every window once an epoch, in an order that a seed fixes.

The order is global: it knows nothing of workers, each takes its share of what comes next. All that moves is one number,
`position`; a run that goes on with it, with as many workers or another number, meets what it had not met.
"""

import numpy as np
from numpy.typing import NDArray


class Sampler:
    def __init__(self, tokens: int, context: int, seed: int, position: int = 0) -> None:
        """Windows of `context` + 1 out of that many `tokens`, at least one; `position` windows were taken before."""
        self.context, self.seed, self.position = context, seed, position
        # One window fewer than would fit: the rest lets each epoch cut the text at other places.
        self.windows = max(1, (tokens - 1) // context - 1)
        self.slack = tokens - 1 - self.windows * context
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def take(self, count: int) -> NDArray[np.int64]:
        """Where the next `count` windows start."""
        starts = np.empty(count, dtype=np.int64)
        done = 0
        while done < count:
            epoch, at = divmod(self.position, self.windows)
            part = self.order(epoch)[at : at + count - done]
            starts[done : done + len(part)] = part
            done += len(part)
            self.position += len(part)
        return starts

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Starts of all windows of an epoch, shuffled; they touch and do not overlap."""
        if epoch != self._epoch:
            chance = np.random.default_rng((self.seed, epoch))
            first = int(chance.integers(self.slack + 1))
            self._epoch = epoch
            self._order = first + chance.permutation(self.windows) * self.context
        return self._order
