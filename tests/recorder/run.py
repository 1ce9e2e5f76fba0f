"""Runs a program against the recorder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pulumi
from pulumi.runtime import rpc, set_mocks
from pulumi.runtime.config import set_all_config
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

from tests.recorder.conduct import conforms, watched_components
from tests.recorder.manifests import misfits
from tests.recorder.monitor import Answers, Monitor, References
from tests.recorder.recording import Recording

ORGANIZATION = "organization"
"""What a state of one's own calls the organization of every stack."""


def record(
    program: Callable[[], Any],
    answers: Answers,
    *,
    stack: str = "contract",
    config: Mapping[str, Any] | None = None,
    references: References | None = None,
    preview: bool = False,
    strict: bool = True,
) -> Recording:
    """Runs a program to its end, all registrations included, and returns what it registered.

    What the program returns is resolved, however deep, and kept as `returned`: an assertion that stands in an `apply`
    nobody waits for would pass in silence. Transforms and hooks do not run.

    Args:
        program: makes resources, and every Output that they are given.
        answers: what providers compute. A type that is not listed computes nothing; a function that is not listed
            is refused.
        stack: name of the stack, or `organization/project/stack`.
        config: what stands under `config:` in the stack's file, with full keys (`aws:region`).
        references: outputs of other stacks. Each is found only under the name that the program asks for, letter by
            letter; the engine also knows a stack of the same project by its short name.
        preview: nothing is made. Ids are unknown, and so is every output that is no input: `answers` are asked only
            for functions and for what is read. Other stacks' outputs are known, as with the engine.
        strict: what is registered must keep to the rules of components. Only a test of bare resources needs less.

    Raises:
        AssertionError: from `conforms`, or for an object of Kubernetes that does not suit its schema.
        Exception: `unknown stack ...`, for a StackReference to one that is not listed. The engine says so to its user
            and ends the program without telling it why. `readStackOutputs` fails in the program, in both.
    """
    recording = Recording()
    monitor = Monitor(answers, references or {}, preview, recording)

    async def run() -> None:
        organization, project, name = [*(ORGANIZATION, "skerry")[: 2 - stack.count("/")], *stack.split("/")]
        set_mocks(monitor.mocks, project, name, preview, monitor=monitor, organization=organization)
        # Else it is one set for all, with what waits in the closed loop of a recording that failed.
        SETTINGS.outputs = set()  # pyright: ignore[reportAttributeAccessIssue]
        _configure(config or {})
        with watched_components() as recording.inner:
            await run_pulumi_func(lambda: _resolved(program(), recording))

    # A loop and a context of its own: neither tasks nor settings reach the next recording.
    with _threads() as threads, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.get_loop().set_default_executor(threads)
        # The first error is raised. Those that wait for it in vain would be logged whenever they are collected, in the
        # middle of whatever runs then.
        runner.get_loop().set_exception_handler(lambda *_: None)
        runner.run(run())
    if strict:
        conforms(recording)
    if found := misfits(recording):
        raise AssertionError("Kubernetes does not know these objects:" + "".join(f"\n  {it}" for it in found))
    return recording


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for what a program registers. The SDK would give each a loop and leave it open, to fail at its end."""
    loops: list[asyncio.AbstractEventLoop] = []

    def begin() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    with ThreadPoolExecutor(initializer=begin) as threads:
        yield threads
    for loop in loops:
        loop.close()


async def _resolved(returned: Any, recording: Recording) -> None:
    output = pulumi.Output.from_input(returned)
    recording.returned = await output.future(with_unknowns=True)
    urns = [await made.urn.future() for made in await output.resources()]
    recording.returned_after = frozenset(urn for urn in urns if urn)


def _configure(config: Mapping[str, Any]) -> None:
    """The engine hands on texts, and JSON for all else."""
    plain = {key: rpc.unwrap_rpc_secret(value) for key, value in config.items()}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in plain.items()}
    set_all_config(texts, [key for key, value in config.items() if rpc.is_rpc_secret(value)])
