"""The engine's side of a recording: takes registrations and answers them as engine and providers would."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import grpc
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks, rpc
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto import resource_pb2

from tests.recorder.conduct import MARKER
from tests.recorder.recording import STACK_REFERENCE, Call, Recording, Registered

Answers = Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]
"""Type of a resource, or token of a function -> what its provider computes from its inputs, in the engine's names."""


@runtime_checkable
class Account(Protocol):
    """Answers that give ids of their own, so that a resource can be found by the id that others name."""

    def made(
        self, kind: str, name: str, inputs: Mapping[str, Any], config: Mapping[str, Any]
    ) -> tuple[str, Mapping[str, Any]]:
        """The id and what else is computed; `config` is what the resource's provider was configured with."""
        ...


References = Mapping[str, Mapping[str, Any]]
"""Name of another stack -> its outputs."""
STACK = "pulumi:pulumi:Stack"
READ_STACK = "pulumi:pulumi:readStackOutputs"


class _Refusal(grpc.RpcError):
    """An error as the SDK gets it from the engine: a program can catch what it makes of it."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self.words


def secret(value: Any) -> dict[str, Any]:
    """Marks an answer, another stack's output or a value of the configuration as secret."""
    return rpc.wrap_rpc_secret(value)


class _Provider(Mocks):
    """Answers as the providers would."""

    def __init__(self, answers: Answers, references: References, preview: bool, recording: Recording) -> None:
        self.answers = answers
        self.references = references
        self.preview = preview
        self.recording = recording

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        is_read = args.custom is None  # only what is made says whether it is a component
        if args.typ == STACK_REFERENCE:
            return args.resource_id, self._outputs_of(args.resource_id or "")
        if args.resource_id == rpc.UNKNOWN or (self.preview and not is_read):
            return args.resource_id, args.inputs
        identity, computed = self._made(args, _plain(args.inputs))
        return args.resource_id or (identity if args.custom else ""), {**args.inputs, **computed}

    def _made(self, args: MockResourceArgs, inputs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The id of a resource and what its provider computes."""
        if isinstance(self.answers, Account):
            provider = self.recording.resources.get(str(args.provider).rpartition("::")[0])
            return self.answers.made(args.typ, args.name, inputs, provider.inputs if provider else {})
        return f"{args.name}-id", self.answers.get(args.typ, lambda _: {})(inputs)

    def _outputs_of(self, stack: str) -> dict[str, Any]:
        if stack not in self.references:
            raise _Refusal(f'unknown stack "{stack}"')  # in the words of engine 3.250
        outputs = self.references[stack]
        return {"name": stack, "outputs": dict(outputs), "secretOutputNames": sorted(_secrets(outputs))}

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]]]:
        if args.token == READ_STACK:
            try:
                return self._outputs_of(args.args["name"]), []
            except _Refusal as refusal:
                raise _Refusal(f"invocation of {args.token} returned an error: {refusal}") from None
        if args.token not in self.answers:
            raise LookupError(
                f"{args.token} is called with {args.args}; what a program looks up cannot be known here. "
                "Give `record` an answer under that token."
            )
        self.recording.calls.append(Call(args.token, args.args, args.provider))
        return dict(self.answers[args.token](args.args)), []


class Monitor(MockMonitor):
    """Sees all that is registered, with its options, and refuses what the engine refuses."""

    def __init__(self, answers: Answers, references: References, preview: bool, recording: Recording) -> None:
        super().__init__(_Provider(answers, references, preview, recording))
        self.recording = recording
        self.names = threading.Lock()
        self.taken: set[str] = set()

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """As the engine makes them: the stack itself is in no URN but its own."""
        return super().make_urn("" if _is_stack(parent) else parent, type_, name)

    def GetDeploymentInfo(self, request: Any) -> Any:  # noqa: N802
        """Without references to resources: the SDK would look up each on a thread where nothing can be awaited."""
        info = super().GetDeploymentInfo(request)
        kept = set(info.supportedFeatures) - {resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES}
        return resource_pb2.DeploymentInfo(supportedFeatures=sorted(kept))

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        if request.type == STACK:
            return super().RegisterResource(request)
        urn = self._take(request)
        answer = super().RegisterResource(request)
        for key in request.additionalSecretOutputs:
            if key in answer.object:
                answer.object[key] = secret(copy.deepcopy(answer.object[key]))
        aliases, markers = _aliases(request.aliases)
        made = self._record(
            urn,
            request,
            request.object,
            custom=request.custom,
            providers=dict(request.providers),
            property_dependencies={
                key: frozenset(found.urns)
                for key, found in request.propertyDependencies.items()
                if found.urns
            },
            aliases=aliases,
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
            delete_before_replace=request.deleteBeforeReplace,
            ignore_changes=tuple(request.ignoreChanges),
            custom_timeouts={
                call: getattr(request.customTimeouts, call)
                for call in ("create", "update", "delete")
                if getattr(request.customTimeouts, call)
            },
            markers=markers,
            id=answer.id,
            computed=_read(answer.object)[0],
        )
        if request.remote:  # it is made elsewhere, and its outputs come with the answer
            made.outputs, made.secret_outputs = _read(answer.object)
        return answer

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        urn = self._take(request)
        answer = super().ReadResource(request)
        self._record(urn, request, request.properties, custom=True, is_read=True)
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        made = self.recording.resources.get(request.urn)
        if made:  # the stack itself is not recorded
            if made.outputs is not None:
                raise ValueError(f"{made} registers its outputs twice, which the engine refuses")
            made.outputs, made.secret_outputs = _read(request.outputs)
        return super().RegisterResourceOutputs(request)

    def _take(self, request: Any) -> str:
        """Registrations run in threads of their own: a name is taken before the answer, not after it."""
        urn = self.make_urn(request.parent, request.type, request.name)
        with self.names:
            if urn in self.taken:
                raise ValueError(f"{urn} is registered twice")
            self.taken.add(urn)
        return urn

    def _record(self, urn: str, request: Any, properties: Any, **more: Any) -> Registered:
        """Keeps what all requests have, and what one kind of them has."""
        inputs, secrets = _read(properties)
        made = self.recording.resources[urn] = Registered(
            urn=urn,
            kind=request.type,
            name=request.name,
            inputs=inputs,
            parent="" if _is_stack(request.parent) else request.parent,
            provider=request.provider,
            dependencies=frozenset(request.dependencies),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            secret_inputs=secrets,
            **more,
        )
        return made


def _is_stack(urn: str) -> bool:
    return urn.split("::")[2:3] == [STACK]


def _read(properties: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Properties without marks, and which of them are secret or hold something secret."""
    marked = rpc.deserialize_properties(properties)
    return _plain(marked), _secrets(marked)


def _plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: rpc.unwrap_rpc_secret(value) for key, value in properties.items()}


def _secrets(properties: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(key for key, value in properties.items() if rpc.is_rpc_secret(value))


def _aliases(given: Iterable[Any]) -> tuple[tuple[str | Mapping[str, Any], ...], tuple[str, ...]]:
    """Real aliases, and markers."""
    told = [
        alias.urn or {key: value for key, value in MessageToDict(alias.spec).items() if value}
        for alias in given
    ]
    markers = tuple(alias for alias in told if isinstance(alias, str) and alias.startswith(MARKER))
    return tuple(alias for alias in told if alias not in markers), markers
