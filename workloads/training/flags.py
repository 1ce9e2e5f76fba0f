"""Command-line flags made from the fields of dataclasses, so that there is no second list to keep in step."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn


class ConfigError(Exception):
    """One or more settings break a rule; the message lists each with its value, the rule and a remedy."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        count = "one setting" if len(problems) == 1 else f"{len(problems)} settings"
        super().__init__(f"{count} cannot be used:" + "".join(f"\n  {problem}" for problem in problems))


def read_flags(
    program: str, arguments: Sequence[str], *owners: type
) -> tuple[list[dict[str, Any]], list[str]]:
    """The values given for the fields of each owner, and every mistake: unknown flags, values of the wrong kind.

    A field that is no text, number or truth value is no flag; a tuple of texts is one that may be repeated. Raises
    ConfigError for a flag without a value.
    """
    parser = _Parser(prog=program, allow_abbrev=False)
    flags = [(owner, each) for owner in owners for each in fields(owner) if each.type in _READ]
    for _, each in flags:
        flag = "--" + each.name.replace("_", "-")
        action = "append" if each.type in _REPEATED else "store"
        parser.add_argument(
            flag, action=action, metavar=_KIND[each.type].upper(), help=f"default: {each.default!r}"
        )
    given, unknown = parser.parse_known_args(arguments)
    problems = []
    for before, word in zip(["", *unknown], unknown, strict=False):
        if word.startswith("-"):
            problems.append(f"{word}: is no setting; --help lists them all")
        elif not before.startswith("-"):  # else it is the value of the flag just reported
            problems.append(f"{word!r}: is a value without a flag; write --name value")
    values: dict[type, dict[str, Any]] = {owner: {} for owner in owners}
    for owner, each in flags:
        text = getattr(given, each.name)
        if text is not None:
            try:
                values[owner][each.name] = read_value(each.type, text)
            except ValueError as error:
                problems.append(f"{each.name}={text!r}: {error}; the default is {each.default!r}")
    return list(values.values()), problems


def read_value(kind: Any, text: Any) -> Any:
    """The value of this kind that a flag's text stands for; raises ValueError with the rule."""
    try:
        return _READ[kind](text)
    except (ValueError, KeyError):
        raise ValueError(f"must be {_KIND[kind]}") from None


_REPEATED = (tuple[str, ...],)
_READ: dict[Any, Any] = {
    str: str,
    int: int,
    float: float,
    bool: {"true": True, "false": False}.__getitem__,
    tuple[str, ...]: tuple,
}
_KIND: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: "text, repeatable",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help lists every setting")
