"""Pulumi's provider protocol, answered from a package's tables for any type.

Secrets, resources and outputs are not accepted as such: the engine then sends plain values and marks what comes back.
Replacements are not modelled: every change is an update in place.
"""

# ruff: noqa: N802 - gRPC's method names are not ours

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from pulumi.runtime.rpc import unwrap_rpc_secret

from components.local.provider.values import Properties, from_struct, to_struct
from tools.rehearsal.account import Held
from tools.rehearsal.ledger import Ledger
from tools.rehearsal.package import Package, Resource, changed, fill, unknown


class StandIn(provider_pb2_grpc.ResourceProviderServicer):
    """Args:
    package: the tables to answer from.
    ledger: the account, which all stand-ins share.
    """

    def __init__(self, package: Package, ledger: Ledger) -> None:
        self.package = package
        self.ledger = ledger
        self.configs: dict[str, Properties] = {}
        """Configuration by connection: the engine opens one for each instance of the provider."""

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self.package.version)

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return _diff(from_struct(request.old_inputs), from_struct(request.news))

    def Configure(self, request: Any, context: Any) -> Any:
        # The engine marks secrets here although none is accepted, and a mark has its two keys in any order.
        given = from_struct(request.args)
        self.configs[context.peer()] = {key: unwrap_rpc_secret(value) for key, value in given.items()}
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        inputs = self.package.complete(self._resource(request, context, from_struct(request.news)))
        return provider_pb2.CheckResponse(inputs=to_struct(inputs))

    def Diff(self, request: Any, context: Any) -> Any:
        return _diff(from_struct(request.old_inputs), from_struct(request.news))

    def Create(self, request: Any, context: Any) -> Any:
        inputs = from_struct(request.properties)
        resource = self._resource(request, context, inputs)
        computed = self.package.computed(resource)
        identity = computed.pop("id")
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_struct(fill(inputs, unknown(computed))))
        outputs = fill(inputs, computed)
        if refusal := self.ledger.create(_held(resource, identity, outputs)):
            return context.abort(grpc.StatusCode.FAILED_PRECONDITION, refusal)
        return provider_pb2.CreateResponse(id=identity, properties=to_struct(outputs))

    def Read(self, request: Any, context: Any) -> Any:
        state = self._state(request, context, from_struct(request.properties))
        return provider_pb2.ReadResponse(id=request.id, properties=to_struct(state), inputs=request.inputs)

    def Update(self, request: Any, context: Any) -> Any:
        inputs = from_struct(request.news)
        state = self._state(request, context, inputs)
        if not request.preview:
            self.ledger.update(_held(self._resource(request, context, inputs), request.id, state))
        return provider_pb2.UpdateResponse(properties=to_struct(state))

    def Delete(self, request: Any, context: Any) -> Any:
        if refusal := self.ledger.delete(request.urn):
            return context.abort(grpc.StatusCode.FAILED_PRECONDITION, refusal)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        answer = self.package.invokes.get(request.tok)
        if answer is None:
            remedy = f"Add a row to INVOKES in {self.package.source}."
            return _refuse(context, f"invoke {request.tok!r} is not in the stand-in's table", remedy)
        result = answer(from_struct(request.args), self.configs.get(context.peer(), {}))
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(to_struct(result))
        return response

    def Call(self, request: Any, context: Any) -> Any:
        remedy = "A stand-in has resources and invokes; wire an output instead."
        return _refuse(context, f"method {request.tok!r} is not answered by a stand-in", remedy)

    def Construct(self, request: Any, context: Any) -> Any:
        remedy = "Its children are made by the real provider; declare them one by one instead."
        return _refuse(context, f"component {request.type!r} is not made by a stand-in", remedy)

    def _resource(self, request: Any, context: Any, inputs: Properties) -> Resource:
        config = self.configs.get(context.peer(), {})
        life = self.ledger.life(request.urn)
        return Resource(request.urn, inputs, config, getattr(request, "id", ""), life)

    def _state(self, request: Any, context: Any, inputs: Properties) -> Properties:
        """Outputs of a resource that exists: its inputs and what the cloud adds."""
        computed = self.package.computed(self._resource(request, context, inputs))
        del computed["id"]
        return fill(inputs, computed)


def _held(resource: Resource, identity: str, outputs: Properties) -> Held:
    return Held(resource.urn, resource.inputs, resource.config, identity, resource.life, outputs)


def _diff(old: Properties, new: Properties) -> Any:
    response, differing = provider_pb2.DiffResponse, changed(old, new)
    return response(changes=response.DIFF_SOME if differing else response.DIFF_NONE, diffs=differing)


def _refuse(context: Any, what: str, remedy: str) -> Any:
    return context.abort(grpc.StatusCode.UNIMPLEMENTED, f"rehearsal: {what}. {remedy}")
