"""The provider `skerry-local` and its resource types, as Pulumi resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions

from components.local.provider.schema import PACKAGE

ROOT = Path(__file__).resolve().parents[2]
"""Folder of the project: what relative paths and commands are resolved against."""
TOOLKIT_PYTHON = ".tools/toolkit/bin/python"
WORKLOADS_PYTHON = ".tools/workloads/bin/python"
"""Interpreters relative to the project, so that a clone that is moved changes no command."""


class LocalProvider(pulumi.ProviderResource):
    """Runs the operations of `ProcessSet`, `Task` and `File` below `root`."""

    def __init__(self, name: str, root: Path, opts: ResourceOptions | None = None) -> None:
        super().__init__(PACKAGE, name, {"root": str(root)}, opts)


class ProcessSet(pulumi.CustomResource):
    """N supervised processes of one kind; see the provider's schema for every input."""

    running: Output[Mapping[str, str]]

    def __init__(
        self,
        name: str,
        *,
        supervisor: str,
        program: str,
        command: Sequence[Input[str]],
        environment: Mapping[str, Input[str]],
        replicas: int,
        port: int,
        port_setting: str,
        ready_path: str,
        ready_seconds: int,
        stop_seconds: int,
        balancer: Mapping[str, str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs: dict[str, Any] = {
            "supervisor": supervisor,
            "program": program,
            "command": list(command),
            "environment": dict(environment),
            "replicas": replicas,
            "port": port,
            "portSetting": port_setting,
            "readyPath": ready_path,
            "readySeconds": ready_seconds,
            "stopSeconds": stop_seconds,
            **({"balancer": dict(balancer)} if balancer else {}),
            "running": None,
        }
        super().__init__(f"{PACKAGE}:index:ProcessSet", name, inputs, opts)


class Task(pulumi.CustomResource):
    """A command that runs once for everything that its result depends on; see the provider's schema."""

    digest: Output[str]
    output: Output[str]
    outcome: Output[Mapping[str, Any]]
    checksum: Output[str]

    def __init__(
        self,
        name: str,
        *,
        program: str,
        command: Sequence[Input[str]],
        environment: Mapping[str, str],
        key: Mapping[str, Input[Any]],
        sources: Sequence[str],
        output_parent: Input[str],
        result: str,
        timeout_seconds: int,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs: dict[str, Any] = {
            "program": program,
            "command": list(command),
            "environment": dict(environment),
            "key": dict(key),
            "sources": list(sources),
            "outputParent": output_parent,
            "result": result,
            "timeoutSeconds": timeout_seconds,
            "digest": None,
            "output": None,
            "outcome": None,
            "checksum": None,
            "content": None,
            "seconds": None,
        }
        super().__init__(f"{PACKAGE}:index:Task", name, inputs, opts)


class File(pulumi.CustomResource):
    """A text file, replaced by rename."""

    path: Output[str]

    def __init__(
        self,
        name: str,
        *,
        path: str,
        content: Input[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__(f"{PACKAGE}:index:File", name, {"path": path, "content": content}, opts)
