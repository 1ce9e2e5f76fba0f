"""The training loop with Ray Train as the launcher, on a Ray of its own that ends with it:

    python -m workloads.training.variants.ray_run 2 --steps 200 --data out/data

The first argument is the number of workers. Ray starts them and joins them; the gradients go through DDP as always. It
listens on 127.0.0.1, shows no dashboard and reports no usage.
"""

# Ray is in an environment of its own.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workloads.training.parallel import spread
from workloads.training.variants.loop import loop
from workloads.training.workers import Workers

ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # elsewhere the default: no address but 127.0.0.1 is listened on
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # half a minute is short on a busy machine
    "GLOO_SOCKET_IFNAME": "lo",
}


def work(given: dict[str, Any]) -> None:
    """One worker, in a process of Ray's."""
    torch.set_num_threads(1)
    workers = Workers.from_environment()

    def mean(loss: Tensor) -> Tensor:
        return workers.sum(loss) / workers.world

    loop(given["arguments"], workers, spread, mean)


def main(arguments: Sequence[str]) -> None:
    # Before Ray is imported. The token is for this Ray alone; Ray would else write one into the home folder.
    os.environ.update(ALONE, RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    count = int(arguments[0])
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(
            num_cpus=count,
            num_gpus=0,
            include_dashboard=False,
            _temp_dir=folder,
            object_store_memory=100_000_000,
        )
        try:
            TorchTrainer(
                work,
                train_loop_config={"arguments": list(arguments[1:])},
                torch_config=TorchConfig(backend="gloo"),
                scaling_config=ScalingConfig(num_workers=count),
                run_config=RunConfig(storage_path=f"{folder}/runs"),
            ).fit()
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
