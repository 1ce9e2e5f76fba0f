"""The gRPC side of the provider: Pulumi's calls on one side, `Lifecycle` objects on the other."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
)

from components.local.provider.file import FileLifecycle
from components.local.provider.lifecycle import (
    Change,
    Context,
    Lifecycle,
    ResourceError,
)
from components.local.provider.lock import RootLock
from components.local.provider.process_set import ProcessSetLifecycle
from components.local.provider.schema import PACKAGE, SCHEMA, VERSION
from components.local.provider.task import TaskLifecycle
from components.local.provider.values import from_struct, to_struct

LIFECYCLES: dict[str, type[Any]] = {
    f"{PACKAGE}:index:ProcessSet": ProcessSetLifecycle,
    f"{PACKAGE}:index:Task": TaskLifecycle,
    f"{PACKAGE}:index:File": FileLifecycle,
}


class LocalProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Args: engine: address of the engine, for progress lines; None without one."""

    def __init__(self, engine: str | None) -> None:
        self.engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine)) if engine else None
        self.context = Context(root=Path.cwd(), report=self._report)
        self.lock = RootLock()

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps(SCHEMA))

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse()

    def Configure(self, request: Any, context: Any) -> Any:
        root = from_struct(request.args).get("root") or request.variables.get(f"{PACKAGE}:config:root")
        self.context = Context(root=Path(root or ".").absolute(), report=self._report)
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        state = from_struct(request.olds) or None
        lifecycle, news = self._lifecycle(request.urn), from_struct(request.news)
        inputs, refusals = self._attempt(context, lambda: lifecycle.check(news, state))
        failures = [provider_pb2.CheckFailure(property=key, reason=text) for key, text in refusals.items()]
        return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        lifecycle, state = self._lifecycle(request.urn), from_struct(request.olds)
        change = self._attempt(context, lambda: lifecycle.diff(state, from_struct(request.news)))
        return _diff_response(change)

    def Create(self, request: Any, context: Any) -> Any:
        lifecycle, inputs = (
            self._lifecycle(request.urn),
            from_struct(request.properties),
        )
        if request.preview:
            foreseen = self._attempt(context, lambda: lifecycle.preview(None, inputs))
            return provider_pb2.CreateResponse(properties=to_struct(foreseen))
        identity, state = self._change(context, lambda: lifecycle.create(request.urn, inputs))
        return provider_pb2.CreateResponse(id=identity, properties=to_struct(state))

    def Read(self, request: Any, context: Any) -> Any:
        lifecycle, known = self._lifecycle(request.urn), from_struct(request.properties)
        state = self._attempt(context, lambda: lifecycle.read(known))
        if state is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=to_struct(state), inputs=request.inputs)

    def Update(self, request: Any, context: Any) -> Any:
        lifecycle = self._lifecycle(request.urn)
        state, inputs = from_struct(request.olds), from_struct(request.news)
        if request.preview:
            foreseen = self._attempt(context, lambda: lifecycle.preview(state, inputs))
            return provider_pb2.UpdateResponse(properties=to_struct(foreseen))
        updated = self._change(context, lambda: lifecycle.update(request.urn, state, inputs))
        return provider_pb2.UpdateResponse(properties=to_struct(updated))

    def Delete(self, request: Any, context: Any) -> Any:
        lifecycle, state = self._lifecycle(request.urn), from_struct(request.properties)
        self._change(context, lambda: lifecycle.delete(state))
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        self.context.cancelled.set()
        return empty_pb2.Empty()

    def _lifecycle(self, urn: str) -> Lifecycle:
        return LIFECYCLES[urn.split("::")[2].split("$")[-1]](self.context)

    def _change(self, context: Any, operation: Callable[[], Any]) -> Any:
        """An operation that changes something: first it waits for a provider that an earlier run left behind."""

        def alone() -> Any:
            self.lock.take(self.context.root, self.context.cancelled)
            return operation()

        return self._attempt(context, alone)

    def _attempt(self, context: Any, operation: Callable[[], Any]) -> Any:
        try:
            return operation()
        except ResourceError as error:
            text = str(error)
        except OSError as error:
            text = (
                f"{type(error).__name__}: {error}. The project lies in {self.context.root}: make the path usable "
                "(permissions, disk space), then run `up` again."
            )
        except Exception as error:
            traceback.print_exc()  # to the engine's log, for whoever mends the provider
            text = f"A fault of the provider {PACKAGE}: {type(error).__name__}: {error}. Report it with this text."
        return context.abort(grpc.StatusCode.UNKNOWN, text)

    def _report(self, urn: str, line: str) -> None:
        if self.engine is not None:
            self.engine.Log(
                engine_pb2.LogRequest(severity=engine_pb2.INFO, message=line, urn=urn, ephemeral=True)
            )


def _diff_response(change: Change) -> Any:
    response = provider_pb2.DiffResponse
    kind = response.DIFF_SOME if change.changed else response.DIFF_NONE
    return response(changes=kind, diffs=change.changed, replaces=change.replaces)
