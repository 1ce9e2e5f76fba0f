"""Starts the provider as the engine does and speaks its protocol."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from components.local.provider.values import Properties, from_struct, to_struct
from tests.waiting import HANG_SECONDS

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Plugin:
    """Pulumi's calls, with plain dicts."""

    stub: provider_pb2_grpc.ResourceProviderStub
    process: subprocess.Popen[str]
    root: Path

    def urn(self, kind: str) -> str:
        return f"urn:pulumi:test::skerry::{kind}::it"

    def check(self, kind: str, inputs: Properties, state: Properties | None = None) -> Any:
        request = provider_pb2.CheckRequest(
            urn=self.urn(kind), news=to_struct(inputs), olds=to_struct(state or {})
        )
        return self.stub.Check(request)

    def create(self, kind: str, inputs: Properties) -> tuple[str, Properties]:
        checked = self.check(kind, inputs)
        assert not checked.failures, checked.failures
        made = self.stub.Create(provider_pb2.CreateRequest(urn=self.urn(kind), properties=checked.inputs))
        return made.id, from_struct(made.properties)

    def begin_create(self, kind: str, checked: Any, preview: bool = False) -> Any:
        """A running call, with inputs that `check` returned."""
        request = provider_pb2.CreateRequest(urn=self.urn(kind), properties=checked, preview=preview)
        return self.stub.Create.future(request)

    def begin_update(self, kind: str, state: Properties, checked: Any) -> Any:
        """A running call, with inputs that `check` returned."""
        return self.stub.Update.future(
            provider_pb2.UpdateRequest(id="it", urn=self.urn(kind), olds=to_struct(state), news=checked)
        )

    def read(self, kind: str, identity: str, state: Properties) -> tuple[str, Properties]:
        answer = self.stub.Read(
            provider_pb2.ReadRequest(id=identity, urn=self.urn(kind), properties=to_struct(state))
        )
        return answer.id, from_struct(answer.properties)

    def diff(self, kind: str, state: Properties, inputs: Properties) -> Any:
        checked = self.check(kind, inputs, state)
        return self.stub.Diff(
            provider_pb2.DiffRequest(id="it", urn=self.urn(kind), olds=to_struct(state), news=checked.inputs)
        )

    def update(self, kind: str, state: Properties, inputs: Properties) -> Properties:
        checked = self.check(kind, inputs, state)
        assert not checked.failures, checked.failures
        answer = self.stub.Update(
            provider_pb2.UpdateRequest(
                id="it", urn=self.urn(kind), olds=to_struct(state), news=checked.inputs
            )
        )
        return from_struct(answer.properties)

    def delete(self, kind: str, identity: str, state: Properties) -> None:
        self.stub.Delete(
            provider_pb2.DeleteRequest(id=identity, urn=self.urn(kind), properties=to_struct(state))
        )


@contextmanager
def running_plugin(root: Path) -> Iterator[Plugin]:
    """The provider with `root` as its project; ended, with everything it left running, afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "components.local.provider"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            stub.Configure(provider_pb2.ConfigureRequest(args=to_struct({"root": str(root)})))
            yield Plugin(stub, process, root)
    finally:
        process.terminate()
        process.wait(timeout=HANG_SECONDS)
        process.stdout.close()
