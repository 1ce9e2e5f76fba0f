"""Run a command that ends with the process that started it, however that one ends:

python -m workloads.serving.vllm.tied PARENT_PID COMMAND ...
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; it outlives exec

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before the tie
        sys.exit(1)
    os.execvp(command[0], command)
