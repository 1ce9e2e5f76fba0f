"""The gRPC side of the provider: Pulumi's calls on one side, `Lifecycle` objects on the other."""

from __future__ import annotations

import json
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
from components.local.provider.process_set import ProcessSetLifecycle
from components.local.provider.schema import PACKAGE, SCHEMA, VERSION
from components.local.provider.task import TaskLifecycle
from components.local.provider.values import Properties, from_struct, to_struct

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
        self.context = Context(root=Path(root) if root else Path.cwd(), report=self._report)
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        state = from_struct(request.olds) or None
        inputs, refusals = self._lifecycle(request.urn).check(from_struct(request.news), state)
        failures = [provider_pb2.CheckFailure(property=key, reason=text) for key, text in refusals.items()]
        return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        change = self._lifecycle(request.urn).diff(from_struct(request.olds), from_struct(request.news))
        return _diff_response(change)

    def Create(self, request: Any, context: Any) -> Any:
        lifecycle, inputs = (
            self._lifecycle(request.urn),
            from_struct(request.properties),
        )
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_struct(lifecycle.preview(None, inputs)))
        identity, state = self._attempt(context, lambda: lifecycle.create(request.urn, inputs))
        return provider_pb2.CreateResponse(id=identity, properties=to_struct(state))

    def Read(self, request: Any, context: Any) -> Any:
        state = self._lifecycle(request.urn).read(from_struct(request.properties))
        if state is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=to_struct(state), inputs=request.inputs)

    def Update(self, request: Any, context: Any) -> Any:
        lifecycle = self._lifecycle(request.urn)
        state, inputs = from_struct(request.olds), from_struct(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=to_struct(lifecycle.preview(state, inputs)))
        updated = self._attempt(context, lambda: lifecycle.update(request.urn, state, inputs))
        return provider_pb2.UpdateResponse(properties=to_struct(updated))

    def Delete(self, request: Any, context: Any) -> Any:
        lifecycle, state = self._lifecycle(request.urn), from_struct(request.properties)
        self._attempt(context, lambda: lifecycle.delete(state))
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        self.context.cancelled.set()
        return empty_pb2.Empty()

    def _lifecycle(self, urn: str) -> Lifecycle:
        return LIFECYCLES[urn.split("::")[2].split("$")[-1]](self.context)

    def _attempt(self, context: Any, operation: Any) -> Any:
        try:
            return operation()
        except ResourceError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except OSError as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")

    def _report(self, urn: str, line: str) -> None:
        if self.engine is not None:
            self.engine.Log(
                engine_pb2.LogRequest(severity=engine_pb2.INFO, message=line, urn=urn, ephemeral=True)
            )


def _diff_response(change: Change) -> Any:
    response = provider_pb2.DiffResponse
    kind = response.DIFF_SOME if change.changed else response.DIFF_NONE
    return response(changes=kind, diffs=change.changed, replaces=change.replaces)


__all__ = ["LIFECYCLES", "LocalProvider", "Properties"]
