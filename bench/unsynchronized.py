"""The training with the exchange of gradients off: the negative control of bench/training.py.

It is no_sync around everything: DDP looks at this attribute before each exchange, and no_sync clears it for a while.
"""

import sys

from torch.nn.parallel import DistributedDataParallel

from workloads.training.train import main
from workloads.training.workers import end_process

EXCHANGE = "require_backward_grad_sync"

if __name__ == "__main__":
    setattr(DistributedDataParallel, EXCHANGE, property(lambda ddp: False, lambda ddp, value: None))
    end_process(main, sys.argv[1:])
