"""Resources to try the provider with, and what to ask of them."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest

from components.local.provider.schema import PACKAGE
from components.local.provider.values import Properties
from tests.waiting import HANG_SECONDS
from tests.waiting import wait_until as wait_until

HERE = Path(__file__).parent


PROCESS_SET, TASK, FILE = (f"{PACKAGE}:index:{name}" for name in ("ProcessSet", "Task", "File"))


def process_set(port: int, **changes: object) -> Properties:
    return {
        "supervisor": "region-x",
        "program": "web",
        "command": [sys.executable, str(HERE / "answering.py"), "{port}"],
        "environment": {"INDEX": "{index}"},
        "replicas": 2,
        "port": port,
        "portSetting": "target.port",
        "readyPath": "/",
        "readySeconds": HANG_SECONDS,
        "stopSeconds": 5,
        **changes,
    }


def task(root: Path, **changes: object) -> Properties:
    script = (
        "import json,os,sys,urllib.parse as u;p=u.unquote(sys.argv[1].removeprefix('file://'));os.makedirs(p);"
        "open(p+'/result.json','w').write(json.dumps({'answer':42}))"
    )
    return {
        "program": "work",
        "command": [sys.executable, "-c", script, "{output}"],
        "environment": {},
        "key": {"seed": 1},
        "sources": [],
        "outputParent": (root / ".skerry" / "tiers" / "x").as_uri(),
        "result": "result.json",
        "timeoutSeconds": HANG_SECONDS,
        **changes,
    }


def pid_at(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=HANG_SECONDS) as answer:
        return int(answer.read())


def answers(port: int) -> bool:
    try:
        return pid_at(port) > 0
    except (OSError, urllib.error.URLError):
        return False


def failure(call: Any) -> str:
    """What a call that fails tells the user."""
    with pytest.raises(grpc.RpcError) as error:
        call.result()
    return str(error.value.details())
