"""The place where the machines of a run find each other, on a host that stays when they go.

    python -m workloads.training.rendezvous --address 10.0.0.5 --port 29400

torchrun otherwise keeps this store in the launcher of one machine; when that machine is taken away, all others fail.
The launchers reach it by
    --rdzv-backend c10d --rdzv-endpoint 10.0.0.5:29400 --rdzv-conf is_host=false

It listens on the given address only, says so by a line {"endpoint": ...}, holds no data of a run, and ends by SIGTERM.
Whoever reaches it can disturb a run, and torchrun unpickles what it finds there: the network must keep others out.
"""

import argparse
import json
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import timedelta

from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

_PATIENCE = timedelta(minutes=1)  # with a client; the store itself waits for nobody


def main(arguments: Sequence[str]) -> int:
    flags = argparse.ArgumentParser(prog="workloads.training.rendezvous", description="a run's meeting place")
    flags.add_argument(
        "--address", default="127.0.0.1", help="of this host, to listen on (default: %(default)s)"
    )
    flags.add_argument("--port", type=int, default=29400, help="0 takes a free one (default: %(default)s)")
    given = flags.parse_args(arguments)
    try:
        listener = socket.create_server((given.address, given.port))
    except (OSError, OverflowError) as error:
        print(
            f"workloads.training.rendezvous: address={given.address!r}, port={given.port}: {error}; give an address "
            "of this host and a free port, or --port 0",
            file=sys.stderr,
        )
        return 2
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    port = listener.getsockname()[1]
    store = TCPStore(
        given.address,
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=_PATIENCE,
        master_listen_fd=listener.detach(),
    )
    print(json.dumps({"endpoint": f"{given.address}:{port}"}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del store
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
