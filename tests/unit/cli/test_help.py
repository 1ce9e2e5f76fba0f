"""Help comes at once: what takes long to import is left to the commands that need it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tools.paths import ROOT

# Without pydantic, which typer itself imports where it is installed.
HEAVY = {"pulumi", "grpc", "google", "supervisor", "rich", "numpy", "psutil"}
COMMANDS = ("up", "preview", "down", "outputs", "diagram", "env", "rehearse", "schema", "doctor")
ASK = """
import json, sys
sys.argv = ["skerry", *sys.argv[1:], "--help"]
from cli.__main__ import app
try:
    app(prog_name="skerry")
except SystemExit as ended:
    print(json.dumps([ended.code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_that_takes_long(command: str) -> None:
    words = [command] if command else []
    command_line = [sys.executable, "-P", "-c", ASK, *words]
    done = subprocess.run(
        command_line, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    status, modules = json.loads(done.stderr)
    assert status == 0 and f"Usage: skerry {command}".strip() in done.stdout
    assert not HEAVY & set(modules)
