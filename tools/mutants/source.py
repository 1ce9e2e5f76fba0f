"""A Python source file, its syntax tree, and the parts of it that are worth mutating."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

# Keyword arguments and keys that hold text for a reader.
FOR_READERS = {"description", "help", "title", "metavar", "epilog", "message"}
# Keyword arguments that only refuse what a correct program never does: `zip(strict=)`, `@dataclass(frozen=)`.
NOT_MUTATED = FOR_READERS | {"frozen", "slots", "strict"}
# Statements that call one of these on a logger only write a log line.
LOGGERS = {"log", "logger", "logging", "LOG", "warnings"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = {"body", "orelse", "finalbody", "handlers", "cases"}


@dataclass(frozen=True)
class Place:
    """A node of the tree with the statement that holds it and the function that holds the statement."""

    node: ast.AST
    statement: ast.stmt
    function: ast.FunctionDef | ast.AsyncFunctionDef | None


class Source:
    """A source file as UTF-8 bytes; offsets of nodes are byte offsets into it."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self.tree = ast.parse(text)
        self.starts = [0]
        for line in self.data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def start(self, node: ast.AST) -> int:
        """Offset of a node's first byte."""
        return self.starts[node.lineno - 1] + node.col_offset  # pyright: ignore[reportAttributeAccessIssue]

    def end(self, node: ast.AST) -> int:
        """Offset after a node's last byte."""
        return self.starts[node.end_lineno - 1] + node.end_col_offset  # pyright: ignore[reportAttributeAccessIssue]

    def text(self, node: ast.AST) -> str:
        """The source of a node, without parentheses around it."""
        return self.data[self.start(node) : self.end(node)].decode()

    def line(self, offset: int) -> int:
        """The line, counted from 1, of a byte offset."""
        return self.data.count(b"\n", 0, offset) + 1

    def places(self) -> Iterator[Place]:
        """Every node that may be mutated, in the order of the source."""
        for statement in self.tree.body:
            yield from places_in(statement, statement, None)


def places_in(
    node: ast.AST, statement: ast.stmt, function: ast.FunctionDef | ast.AsyncFunctionDef | None
) -> Iterator[Place]:
    """A node and what is below it, except annotations, docstrings, messages and code that tests never run."""
    if isinstance(node, ast.stmt):
        statement = node
        if is_skipped(node):
            return
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.keyword) and node.arg in NOT_MUTATED):
        return  # text for readers; Python 3.11 gives the parts of an f-string no usable positions
    yield Place(node, statement, function)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "ctx", "op", "ops", "type_comment"):
            continue
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Subscript) and isinstance(value, ast.Tuple)):
            continue  # the words of an error, or the arguments of a type
        inner = node if isinstance(node, FUNCTIONS) and field == "body" else function
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from places_in(child, statement, inner)


def is_skipped(statement: ast.stmt) -> bool:
    """Whether a statement is an import, a docstring, a log line, or code for the type checker or a start."""
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Assert):
        return True
    if isinstance(statement, ast.If):
        return any(word in ast.dump(statement.test) for word in ("TYPE_CHECKING", "'__main__'"))
    if isinstance(statement, ast.Assign):
        return any(isinstance(name, ast.Name) and name.id == "__all__" for name in statement.targets)
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        owner = value.func.value
        return isinstance(owner, ast.Name) and owner.id in LOGGERS
    return isinstance(value, ast.Constant)


def lines_of(statement: ast.stmt) -> range:
    """The lines of a statement; of one that holds others, the lines before its first block."""
    first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", []))])
    blocks = [getattr(statement, name) for name in BLOCKS if getattr(statement, name, None)]
    inner = [getattr(node, "lineno", None) or node.pattern.lineno for block in blocks for node in block]
    last = max(statement.lineno, min(inner) - 1) if inner else statement.end_lineno or statement.lineno
    return range(first, last + 1)
