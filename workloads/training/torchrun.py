"""torchrun with the exit code of the training: it itself ends with 1 whatever befell the workers.

    python -m workloads.training.torchrun --standalone --nproc-per-node 2 -m workloads.training.train --output out/model

Takes torchrun's own arguments. 0: all workers ended well. Else the code of the first worker that failed in the last
try, 128 + the signal's number where one was killed. A launcher that gets SIGTERM hands it on, waits --shutdown-timeout
seconds (torchrun's; 30) for its workers and ends with what they ended with: 75 when the run was kept. See train.py.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from workloads.training.workers import LEFT_CODES


def main(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="skerry-") as folder:
        os.environ[LEFT_CODES] = folder
        try:
            torchrun(list(arguments))
        except ChildFailedError as failed:
            print(failed, file=sys.stderr, flush=True)
            _, failure = failed.get_first_failure()
            return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
        except SignalException as stopped:
            codes = {int(file.read_text()) for file in Path(folder).iterdir()}
            return codes.pop() if len(codes) == 1 else 128 + stopped.sigval
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
