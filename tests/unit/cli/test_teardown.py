"""Taking a stack down, on the real engine with states that hold no cloud's resource."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from cli import __main__ as commands
from cli import engine, teardown
from cli.engine import ROOT, EngineError, engine_json, engine_text

REGION, GLOBAL = "dev-aws-us-east-1", "dev-aws-global"
COMPONENT = "skerry:index:AwsTieredStorage"


@pytest.fixture(autouse=True)
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stack files, and a backend with two of the stacks in it, neither of which has anything."""
    for module in (engine, teardown):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", (tmp_path / "state").as_uri())
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "of a test")
    (tmp_path / "Pulumi.yaml").write_text("name: skerry\nruntime: python\nstackConfigDir: stacks\n")
    for stack in (REGION, GLOBAL):
        engine_text(stack, tmp_path, "stack", "init", stack, "--no-select")
    return tmp_path


def urn(stack: str, kind: str, name: str) -> str:
    return f"urn:pulumi:{stack}::skerry::{kind}::{name}"


def fill(backend: Path, stack: str, *resources: dict[str, Any]) -> None:
    """Writes resources into a stack's state."""
    root = {
        "urn": urn(stack, "pulumi:pulumi:Stack", f"skerry-{stack}"),
        "custom": False,
        "type": "pulumi:pulumi:Stack",
    }
    file = backend / f"{stack}.json"
    file.write_text(json.dumps({"version": 3, "deployment": {"resources": [root, *resources]}}))
    engine_text(stack, backend, "stack", "import", "--stack", stack, "--file", str(file))


def tiers(stack: str = REGION, **changes: Any) -> dict[str, Any]:
    """A resource that needs no provider to go."""
    return {"urn": urn(stack, COMPONENT, "us-east-1-tiers"), "custom": False, "type": COMPONENT, **changes}


def reference(stack: str) -> dict[str, Any]:
    kind, name = "pulumi:pulumi:StackReference", f"organization/skerry/{stack}"
    told = {"name": name}
    return {
        "urn": urn(GLOBAL, kind, name),
        "custom": True,
        "id": name,
        "type": kind,
        "inputs": told,
        "outputs": told,
    }


def down(stack: str, with_data: bool = False) -> int:
    """Exit status of the command."""
    with pytest.raises(typer.Exit) as ended:
        commands.down(stack, with_data)
    return ended.value.exit_code


def left(stack: str) -> list[str]:
    resources = engine_json(stack, "stack", "export", "--stack", stack)["deployment"].get("resources") or []
    return [resource["urn"].rpartition("::")[2] for resource in resources]


def test_a_stack_that_holds_data_is_left_as_it_is(backend: Path) -> None:
    fill(backend, REGION, tiers(protect=True))
    before = left(REGION)
    with pytest.raises(EngineError) as refusal:
        commands.down(REGION)
    assert left(REGION) == before
    assert "holds data, and nothing of it was touched. Protected: us-east-1-tiers." in str(refusal.value)
    assert f"./skerry down --stack {REGION} --with-data" in str(refusal.value)


def test_data_is_removed_when_the_command_says_so(backend: Path) -> None:
    fill(backend, REGION, tiers(protect=True))
    assert down(REGION, with_data=True) == 0 and left(REGION) == []


def test_a_stack_without_data_goes_without_more_words(backend: Path) -> None:
    fill(backend, REGION, tiers())
    assert down(REGION) == 0 and left(REGION) == []


@pytest.mark.parametrize("with_data", [False, True])
def test_a_region_that_a_global_stack_reads_is_not_taken_down(backend: Path, with_data: bool) -> None:
    fill(backend, REGION, tiers())
    fill(backend, GLOBAL, reference(REGION))
    before = left(REGION)
    with pytest.raises(EngineError) as refusal:
        commands.down(REGION, with_data)
    assert left(REGION) == before
    assert f"stack {REGION!r} is read by {GLOBAL}" in str(refusal.value)
    assert f"./skerry down --stack {GLOBAL}" in str(refusal.value)


def test_a_region_that_nobody_reads_any_more_is_taken_down(backend: Path) -> None:
    fill(backend, REGION, tiers())
    fill(backend, GLOBAL, reference("dev-aws-eu-west-1"))
    assert down(REGION) == 0 and left(REGION) == []


def test_the_engine_itself_refuses_before_it_touches_anything(backend: Path) -> None:
    other = {"urn": urn(REGION, COMPONENT, "other"), "custom": False, "type": COMPONENT}
    fill(backend, REGION, tiers(protect=True), other)
    before = left(REGION)
    assert engine.run_engine(REGION, "destroy", "--yes", *commands.DESTROY[False]) != 0
    assert left(REGION) == before
