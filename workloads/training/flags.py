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

    A field that is no text, number or truth value is no flag. Raises ConfigError for a flag without a value.
    """
    parser = _Parser(prog=program, allow_abbrev=False)
    flags = [(owner, each) for owner in owners for each in fields(owner) if each.type in _READ]
    for _, each in flags:
        flag = "--" + each.name.replace("_", "-")
        parser.add_argument(flag, metavar=_KIND[each.type].upper(), help=f"default: {each.default!r}")
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
                values[owner][each.name] = _READ[each.type](text)
            except (ValueError, KeyError):
                rule = f"must be {_KIND[each.type]}; the default is {each.default!r}"
                problems.append(f"{each.name}={text!r}: {rule}")
    return list(values.values()), problems


_READ: dict[Any, Any] = {str: str, int: int, float: float, bool: {"true": True, "false": False}.__getitem__}
_KIND: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help lists every setting")
