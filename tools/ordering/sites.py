"""Where a component asks for order without needing a value, read from the syntax tree.

Four forms: an element of `depends_on` or of a list of resources that becomes one; an argument of `Output.all` that
the function behind it never reads; an `apply` whose function ignores what it is given; and a method of `METHODS`,
which gives a plain id after something else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tools.mutants.source import Source

RESOURCES = "list[pulumi.Resource]"
"""Annotation of a list that becomes a `depends_on`."""
AFTER = "after"
"""Key of an argument that becomes a `depends_on`."""
METHODS = {"usable": "{owner}.keys[{argument}].id"}
"""Method that gives a value when it may be used -> the same value at once."""
CONSTANT = '__import__("pulumi").Output.from_input({value})'


@dataclass(frozen=True)
class Site:
    """One place."""

    file: str
    line: int
    function: str
    """Its class and function, such as `AwsCluster.__init__`."""
    what: str
    """The form and the source that is taken away."""
    text: str
    """The whole file without it."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it wherever the lines move to."""
        return self.file, self.function, self.what


@dataclass(frozen=True)
class _Cut:
    node: ast.expr
    what: str
    becomes: str


def sites(file: str, text: str) -> list[Site]:
    """All places of a file, by line."""
    source = Source(text)
    found = [
        _site(file, source, function, cut)
        for function, scope in _functions(source.tree)
        for cut in _cuts(source, scope)
    ]
    return sorted(found, key=lambda site: (site.line, site.what))


def _site(file: str, source: Source, function: str, cut: _Cut) -> Site:
    start, end = source.start(cut.node), source.end(cut.node)
    text = (source.data[:start] + cut.becomes.encode() + source.data[end:]).decode()
    return Site(file, cut.node.lineno, function, " ".join(cut.what.split()), text)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Functions and methods with their names; a function inside another belongs to the outer one."""
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for one in inner:
            if isinstance(one, ast.FunctionDef):
                yield f"{owner}{one.name}", one


def _cuts(source: Source, scope: ast.AST) -> Iterator[_Cut]:
    for node in ast.walk(scope):
        if isinstance(node, ast.keyword) and node.arg == "depends_on":
            yield from _elements(source, node.value, "depends_on")
        elif isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.annotation) == RESOURCES:
            yield from _elements(source, node.value, ast.unparse(node.target))
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == AFTER:
                    yield from _elements(source, value, AFTER)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from _calls(source, scope, node, node.func)


def _elements(source: Source, value: ast.expr, name: str) -> Iterator[_Cut]:
    if not isinstance(value, ast.List):
        yield _Cut(value, f"{name}: {source.text(value)}", "[]")
        return
    for element in value.elts:
        others = [source.text(other) for other in value.elts if other is not element]
        yield _Cut(value, f"{name}: {source.text(element)}", f"[{', '.join(others)}]")


def _calls(source: Source, scope: ast.AST, call: ast.Call, function: ast.Attribute) -> Iterator[_Cut]:
    if function.attr == "all" and ast.unparse(function.value) in ("Output", "pulumi.Output"):
        read = _read(scope, call)
        for index, argument in enumerate(call.args):
            if read is not None and index not in read:
                empty = "*()" if isinstance(argument, ast.Starred) else "None"
                yield _Cut(argument, f"all: {source.text(argument)}", empty)
    elif function.attr == "apply" and not _is_all(function.value):
        (taken,) = call.args or (None,)
        if isinstance(taken, ast.Lambda) and _indices(taken) == set():
            value = source.text(taken.body)
            yield _Cut(call, f"apply: {source.text(call)}", CONSTANT.format(value=value))
    elif function.attr in METHODS and "register_outputs" not in ast.unparse(_statement(scope, call)):
        owner, (argument,) = source.text(function.value), call.args
        plain = METHODS[function.attr].format(owner=owner, argument=source.text(argument))
        yield _Cut(call, f"{function.attr}: {source.text(call)}", plain)


def _read(scope: ast.AST, call: ast.Call) -> set[int] | None:
    """Which of its values the functions behind an `Output.all` read; None for all of them."""
    applied: list[ast.expr] = []
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and node.value is call and isinstance(node.targets[0], ast.Name):
            applied += _applied(scope, node.targets[0].id)
        elif isinstance(node, ast.Attribute) and node.attr == "apply" and node.value is call:
            applied += [parent.args[0] for parent in ast.walk(scope) if getattr(parent, "func", None) is node]  # pyright: ignore[reportAttributeAccessIssue]
    found = [_indices(one) if isinstance(one, ast.Lambda) else None for one in applied]
    if not found or None in found:
        return None
    return {index for indices in found for index in indices or ()}


def _applied(scope: ast.AST, name: str) -> Iterator[ast.expr]:
    """What is given to `NAME.apply`."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.apply":
            yield node.args[0]


def _indices(function: ast.Lambda) -> set[int] | None:
    """The constant indices at which a lambda reads its one parameter; None where it reads it otherwise."""
    name = function.args.args[0].arg
    uses = [node for node in ast.walk(function.body) if isinstance(node, ast.Name) and node.id == name]
    reads = [
        node.slice.value
        for node in ast.walk(function.body)
        if isinstance(node, ast.Subscript)
        and node.value in uses
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, int)
    ]
    return set(reads) if len(reads) == len(uses) else None


def _is_all(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("Output.all", "pulumi.Output.all")


def _statement(scope: ast.AST, node: ast.AST) -> ast.AST:
    """The innermost statement that holds a node."""
    holders = [one for one in ast.walk(scope) if isinstance(one, ast.stmt) and node in ast.walk(one)]
    return holders[-1]
