"""The mutations: each yields edits of one kind of node. An edit replaces bytes of the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tools.mutants.source import FOR_READERS, FUNCTIONS, NOT_MUTATED, Place, Source

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: (r"\*\*", "*"),
    ast.BitOr: (r"\|", "&"),
    ast.BitAnd: ("&", "|"),
}
# Decorators that change nothing when the program runs, or that only the interpreter's own checks use.
INERT = {"abstractmethod", "override", "overload", "runtime_checkable", "final", "cache", "lru_cache"}


@dataclass(frozen=True)
class Edit:
    """Replace the bytes from `start` to `end` with `text`."""

    start: int
    end: int
    text: str


def edits(source: Source, place: Place) -> Iterator[tuple[str, Edit]]:
    """Every mutation of one node, with the name of its operator."""
    for kind, name, operator in OPERATORS:
        if isinstance(place.node, kind):
            for edit in operator(source, place):
                yield name, edit


def between(source: Source, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[Edit]:
    """Replace the operator in the text between two operands."""
    start, end = source.end(left), source.start(right)
    gap, number = re.subn(old, new, source.data[start:end].decode(), count=1)
    if number:
        yield Edit(start, end, gap)


def compare(source: Source, place: Place) -> Iterator[Edit]:
    """`a < b` becomes `a <= b`, `in` becomes `not in`."""
    node = place.node
    assert isinstance(node, ast.Compare)
    operands = [node.left, *node.comparators]
    for op, left, right in zip(node.ops, operands, operands[1:], strict=False):
        yield from between(source, left, right, *COMPARISONS[type(op)])


def boolean(source: Source, place: Place) -> Iterator[Edit]:
    """`a and b` becomes `a or b`."""
    node = place.node
    assert isinstance(node, ast.BoolOp)
    old, new = (r"\band\b", "or") if isinstance(node.op, ast.And) else (r"\bor\b", "and")
    for left, right in zip(node.values, node.values[1:], strict=False):
        yield from between(source, left, right, old, new)


def negation(source: Source, place: Place) -> Iterator[Edit]:
    """`not a` becomes `a`."""
    node = place.node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield Edit(source.start(node), source.end(node), f"({source.text(node.operand)})")


def condition(source: Source, place: Place) -> Iterator[Edit]:
    """`if a` becomes `if not (a)`, where no comparison is mutated anyway."""
    node = place.node
    tests = node.ifs if isinstance(node, ast.comprehension) else [node.test]  # pyright: ignore[reportAttributeAccessIssue]
    for test in tests:
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.NamedExpr):
            yield Edit(source.start(test), source.end(test), f"(not ({source.text(test)}))")


def arithmetic(source: Source, place: Place) -> Iterator[Edit]:
    """`a + b` becomes `a - b`."""
    node = place.node
    if isinstance(node, ast.AugAssign):
        left, right, marks = node.target, node.value, ARITHMETIC.get(type(node.op))
    else:
        assert isinstance(node, ast.BinOp)
        left, right, marks = node.left, node.right, ARITHMETIC.get(type(node.op))
    if marks and not any(is_text_or_type(side) for side in (left, right)):
        yield from between(source, left, right, *marks)


def is_text_or_type(node: ast.expr) -> bool:
    """Whether an operand makes the operator something else: text that is formatted, a union of types."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) or node.value is None
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Name) and node.id[:1].isupper())


def constant(source: Source, place: Place) -> Iterator[Edit]:
    """Another number, the other truth value, another word. Text with a space in it is for readers and stays."""
    node = place.node
    assert isinstance(node, ast.Constant)
    value = node.value
    if isinstance(value, bool):
        other = repr(not value)
    elif isinstance(value, int):
        other = repr(value + 1)
    elif isinstance(value, float):
        other = repr(value * 2 or 1.0)
    elif isinstance(value, str) and not re.search(r"\s", value):
        other = repr(value + "x")
    else:
        return
    yield Edit(source.start(node), source.end(node), other)


def returned(source: Source, place: Place) -> Iterator[Edit]:
    """`return a` becomes `return None`."""
    node = place.node
    assert isinstance(node, ast.Return)
    empty = isinstance(node.value, ast.Constant) and node.value.value is None
    if node.value is not None and not empty:
        yield Edit(source.start(node), source.end(node), "return None")


def statement(source: Source, place: Place) -> Iterator[Edit]:
    """A call, a raise, a jump, a deletion, or an assignment to a part of something becomes `pass`."""
    node = place.node
    removable = isinstance(node, ast.Raise | ast.Delete | ast.Continue | ast.Break)
    if isinstance(node, ast.Expr):
        removable = isinstance(node.value, ast.Call | ast.Await)
    if isinstance(node, ast.Assign):
        removable = all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
    if removable:
        yield Edit(source.start(node), source.end(node), "pass")


def argument(source: Source, place: Place) -> Iterator[Edit]:
    """A keyword argument is left out."""
    node = place.node
    assert isinstance(node, ast.Call)
    named = [word for word in node.keywords if word.arg and word.arg not in NOT_MUTATED]
    for word in named:
        yield without(source, source.start(word), source.end(word))


def entry(source: Source, place: Place) -> Iterator[Edit]:
    """An entry of a dict is left out."""
    node = place.node
    assert isinstance(node, ast.Dict)
    for key, value in zip(node.keys, node.values, strict=True):
        if key is not None and not (isinstance(key, ast.Constant) and key.value in FOR_READERS):
            yield without(source, source.start(key), source.end(value))


def element(source: Source, place: Place) -> Iterator[Edit]:
    """An element of a list, a set or a longer tuple is left out."""
    node = place.node
    assert isinstance(node, ast.List | ast.Set | ast.Tuple)
    fewest = {ast.List: 1, ast.Set: 2, ast.Tuple: 3}[type(node)]
    loaded = isinstance(node, ast.Set) or isinstance(node.ctx, ast.Load)
    if loaded and len(node.elts) >= fewest:
        for part in node.elts:
            yield without(source, source.start(part), source.end(part))


def without(source: Source, start: int, end: int) -> Edit:
    """Leave out one of several things between commas, with the comma after it or else before it."""
    after = re.match(rb"\s*,", source.data[end:])
    if after:
        return Edit(start, end + after.end(), "")
    before = re.search(rb",\s*$", source.data[:start])
    return Edit(before.start() if before else start, end, "")


def decorator(source: Source, place: Place) -> Iterator[Edit]:
    """A decorator is left out."""
    node = place.node
    assert isinstance(node, (ast.ClassDef, *FUNCTIONS))
    for word in node.decorator_list:
        name = word.func if isinstance(word, ast.Call) else word
        if not set(re.findall(r"\w+", source.text(name))) & INERT:
            yield Edit(source.data.rindex(b"@", 0, source.start(word)), source.end(word), "")


Operator = Callable[[Source, Place], Iterator[Edit]]
OPERATORS: Sequence[tuple[type | tuple[type, ...], str, Operator]] = (
    (ast.Compare, "comparison", compare),
    (ast.BoolOp, "boolean operator", boolean),
    (ast.UnaryOp, "negation", negation),
    ((ast.If, ast.IfExp, ast.comprehension), "condition", condition),
    ((ast.BinOp, ast.AugAssign), "arithmetic", arithmetic),
    (ast.Constant, "constant", constant),
    (ast.Return, "returned value", returned),
    (ast.stmt, "statement", statement),
    (ast.Call, "keyword argument", argument),
    (ast.Dict, "dict entry", entry),
    ((ast.List, ast.Set, ast.Tuple), "element", element),
    ((ast.ClassDef, *FUNCTIONS), "decorator", decorator),
)
