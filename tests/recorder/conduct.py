"""The rules of a component that can be seen in what it registers: it tells its outputs, keeps its children, and keeps
its options to itself.

Whose options a child was given cannot be seen in its registration: what they say may be what the child says anyway.
So each component's options carry a marker while it is recorded, an alias that no resource ever had. `merge` and copies
carry it on, inheritance by the engine (providers, protection) does not.
"""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pulumi

from tests.recorder.recording import Recording, Registered

MARKER = "urn:pulumi:recorder::marker::"
_NUMBERS = itertools.count()
"""No marker comes twice: options may outlive a recording."""


class _Watch:
    """Marks the options of every component, and notes which are made in another's constructor."""

    def __init__(self, patches: ExitStack) -> None:
        self.inner: set[str] = set()
        self._patches = patches
        self._markers: dict[pulumi.ComponentResource, str] = {}
        self._depth = 0

    def wrap(self, kind: type) -> None:
        """Marks what is given to a class's own constructor, if it has one."""
        if "__init__" not in vars(kind):
            return
        constructor = vars(kind)["__init__"]
        signature = inspect.signature(constructor)

        @functools.wraps(constructor)
        def marked(component: pulumi.ComponentResource, *args: Any, **kwargs: Any) -> None:
            given = signature.bind(component, *args, **kwargs)
            opts = given.arguments.get("opts")
            with self._construction(component) as is_outermost:
                if is_outermost and opts is not None:
                    # The caller may give the same options to others, who must not carry this marker.
                    opts = copy.copy(opts)
                elif kind is pulumi.ComponentResource and opts is None:
                    opts = pulumi.ResourceOptions()
                if opts is not None:
                    self._mark(component, opts)
                    given.arguments["opts"] = opts
                constructor(*given.args, **given.kwargs)

        self._patches.enter_context(patch.object(kind, "__init__", marked))

    @contextmanager
    def _construction(self, component: pulumi.ComponentResource) -> Iterator[bool]:
        """True for the constructor that was called, False for those that it calls of its bases."""
        if component in self._markers:
            yield False
            return
        marker = self._markers[component] = f"{MARKER}{next(_NUMBERS)}"
        if self._depth:
            self.inner.add(marker)
        self._depth += 1
        try:
            yield True
        finally:
            self._depth -= 1

    def _mark(self, component: pulumi.ComponentResource, opts: pulumi.ResourceOptions) -> None:
        """A component's own marker stands last, after those of whoever gave it options that were not its own."""
        marker = self._markers[component]
        opts.aliases = [alias for alias in opts.aliases or () if alias is not marker] + [marker]


@contextmanager
def watched_components() -> Iterator[set[str]]:
    """Wraps the constructors of all components, also of those whose classes come on the way.

    Gives the markers of those that are made in another's constructor.
    """
    with ExitStack() as patches:
        watch = _Watch(patches)
        for kind in _family(pulumi.ComponentResource):
            watch.wrap(kind)
        arrives = classmethod(lambda kind, **_: watch.wrap(kind))
        patches.enter_context(patch.object(pulumi.ComponentResource, "__init_subclass__", arrives))
        yield watch.inner


def conforms(recording: Recording) -> None:
    """Fails for a component that breaks a rule, and names all that do."""
    broken = [*_silent(recording), *_orphans(recording), *_leaks(recording)]
    if broken:
        raise AssertionError(
            "the program breaks the rules of components:" + "".join(f"\n  {it}" for it in broken)
        )


def _silent(recording: Recording) -> Iterator[str]:
    for made in _components(recording):
        if made.outputs is None:
            yield f"{made} registers no outputs. Call `self.register_outputs({{...}})` last in its constructor."


def _orphans(recording: Recording) -> Iterator[str]:
    """Providers, stack references and the outermost components stand at the root: they belong to the program."""
    for made in recording.resources.values():
        if made.custom:
            may_be_free = made.is_provider or made.is_stack_reference
        else:
            may_be_free = recording.inner.isdisjoint(made.markers[-1:])
        if not may_be_free and all(outer.custom for outer in recording.ancestors(made)):
            yield f"{made} stands in no component. Give it `ResourceOptions(parent=self)`."


def _leaks(recording: Recording) -> Iterator[str]:
    owners = {made.markers[-1]: made for made in _components(recording) if made.markers}
    for made in recording.resources.values():
        for marker in dict.fromkeys(made.markers if made.custom else made.markers[:-1]):
            yield (
                f"{made} was given the options of {owners.get(marker, 'another component')}. Give a child "
                "`ResourceOptions(parent=self)` alone: providers and protection come with the parent."
            )


def _components(recording: Recording) -> list[Registered]:
    return [made for made in recording.resources.values() if not made.custom]


def _family(kind: type) -> Iterator[type]:
    """A class and all that come from it."""
    yield kind
    for inner in kind.__subclasses__():
        yield from _family(inner)
