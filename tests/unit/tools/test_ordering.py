"""`make ordering` finds every order that a component asks for, and takes exactly that away."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools.ordering import explained
from tools.ordering.attempt import Result
from tools.ordering.explained import Row
from tools.ordering.sites import Site, sites
from tools.paths import ROOT

COMPONENT = """
class Box(ComponentResource):
    def __init__(self, name, args):
        ready: list[pulumi.Resource] = [self.role, self.grant]
        self.pod = Pod(name, opts=ResourceOptions(parent=self, depends_on=[self.account, *ready]))
        self.space = Space(name, {"after": [self.classes], "name": name})
        self.id = Output.all(self.key.id, self.grant.id).apply(lambda ids: ids[0])
        known = pulumi.Output.all(self.a, self.b, *(c.id for c in self.c))
        self.url = known.apply(lambda told: f"http://{told[1]}")
        self.name = self.pod.id.apply(lambda _: name)
        self.both = Output.all(self.a, self.b).apply(lambda told: join(*told))
        self.seen = self.pod.id.apply(lambda made: made.upper())
        self.disk = self.keys.usable("disks")
        self.register_outputs({"key": self.keys.usable("secrets")})
"""
WANTED = {
    "ready: self.role": "ready: list[pulumi.Resource] = [self.grant]",
    "ready: self.grant": "ready: list[pulumi.Resource] = [self.role]",
    "depends_on: self.account": "depends_on=[*ready]",
    "depends_on: *ready": "depends_on=[self.account]",
    "after: self.classes": '{"after": [], "name": name}',
    "all: self.grant.id": "Output.all(self.key.id, None)",
    "all: self.a": "pulumi.Output.all(None, self.b, *(c.id for c in self.c))",
    "all: *(c.id for c in self.c)": "pulumi.Output.all(self.a, self.b, *())",
    "apply: self.pod.id.apply(lambda _: name)": 'self.name = __import__("pulumi").Output.from_input(name)',
    'usable: self.keys.usable("disks")': 'self.disk = self.keys.keys["disks"].id',
}


def test_every_form_of_order_is_found_and_nothing_that_needs_the_value() -> None:
    found = {site.what: site for site in sites("box.py", COMPONENT)}
    assert found.keys() == WANTED.keys()
    for what, becomes in WANTED.items():
        assert becomes in found[what].text, what
        ast.parse(found[what].text)
    assert found["depends_on: self.account"].function == "Box.__init__"


def test_every_depends_on_of_the_components_is_found() -> None:
    for path in sorted((ROOT / "components").rglob("*.py")):
        lists = [
            len(node.value.elts) if isinstance(node.value, ast.List) else 1
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.keyword) and node.arg == "depends_on"
        ]
        found = [site for site in sites(str(path), path.read_text()) if site.what.startswith("depends_on: ")]
        assert len(found) == sum(lists), path


SITE = Site("box.py", 3, "Box.__init__", "depends_on: self.account", "")
ROW = Row(SITE.file, SITE.function, SITE.what, reason="The API server accepts both orders.")


@pytest.mark.parametrize(
    ("result", "row", "says"),
    [
        (Result("a test"), None, ""),
        (Result(""), None, "no test notices that it is gone"),
        (Result("", broken="NameError"), None, "the program does not run without it: NameError"),
        (Result(""), ROW, ""),
        (Result("a test"), ROW, "a test notices it; remove the row"),
    ],
)
def test_an_order_is_noticed_or_explained_and_never_both(result: Result, row: Row | None, says: str) -> None:
    assert says in explained.fault(SITE, result, row)
    assert bool(explained.fault(SITE, result, row)) == bool(says)


def test_a_row_without_an_order_fails_and_so_does_one_without_a_reason(tmp_path: Path) -> None:
    assert explained.unused([ROW], [SITE]) == []
    assert "does not contain this order; remove the row" in explained.unused([ROW], [])[0]
    table = tmp_path / "ordering.toml"
    table.write_text('[[order]]\nfile = "box.py"\nfunction = "f"\nwhat = "all: x"\n')
    with pytest.raises(SystemExit, match="give a test, or a reason"):
        explained.read(table)


def test_every_row_of_the_table_names_an_order_of_the_components() -> None:
    rows = explained.read(ROOT / explained.TABLE)
    files = {row.file for row in rows}
    assert (
        explained.unused(rows, [site for file in files for site in sites(file, (ROOT / file).read_text())])
        == []
    )
