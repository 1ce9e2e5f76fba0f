"""The training loop with Horovod between the workers:

    horovodrun --gloo -np 2 python -m workloads.training.variants.horovod_run --plain true --steps 200 --data out/data

It runs in an environment of its own (`make horovod`): Horovod 0.28.1, the last release, compiles against torch 2.0.1
and not against the torch of the other workloads; old_torch.py has what that one lacks. The gradients are exchanged in
one go at the end of the backward pass, not while it runs.
"""

import sys
from collections.abc import Sequence

import horovod.torch as hvd  # pyright: ignore[reportMissingImports]  (an environment of its own)
import torch
from torch import Tensor, nn

from workloads.training.variants import old_torch


class Exchanged(nn.Module):
    """A model whose gradients are the workers' mean once a backward pass is over."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        hvd.broadcast_parameters(model.state_dict(), root_rank=0)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        losses = self.model(tokens, targets)
        losses.register_hook(self._at_the_end_of_the_backward_pass)
        return losses

    def _at_the_end_of_the_backward_pass(self, gradient: Tensor) -> None:
        torch.autograd.Variable._execution_engine.queue_callback(self._exchange)  # as DDP does

    def _exchange(self) -> None:
        hvd.grouped_allreduce_([weight.grad for weight in self.model.parameters()], op=hvd.Average)


def main(arguments: Sequence[str]) -> None:
    old_torch.complete()
    from workloads.training.variants.loop import loop
    from workloads.training.workers import Workers

    hvd.init()
    workers = Workers(hvd.rank(), hvd.local_rank(), hvd.size())
    loop(arguments, workers, lambda model, *_: Exchanged(model), hvd.allreduce)


if __name__ == "__main__":
    main(sys.argv[1:])
