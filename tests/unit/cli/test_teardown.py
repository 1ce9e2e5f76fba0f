"""Taking a stack down, on the real engine with states that hold no cloud's resource."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

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


def fill(backend: Path, stack: str, *resources: dict[str, Any], regions: Sequence[str] = ()) -> None:
    """Writes resources into a stack's state, and names of regions into its outputs."""
    root = {
        "urn": urn(stack, "pulumi:pulumi:Stack", f"skerry-{stack}"),
        "custom": False,
        "type": "pulumi:pulumi:Stack",
        "outputs": {"regions": {name: {"endpoint": f"https://{name}.example"} for name in regions}},
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
    assert "holds data, and nothing of it was touched. It is in: us-east-1-tiers." in str(refusal.value)
    assert f"./skerry down --stack {REGION} --with-data" in str(refusal.value)


@pytest.mark.parametrize("kind", teardown.HOLDS_DATA)
def test_a_stack_of_before_the_protection_is_left_as_it_is(backend: Path, kind: str) -> None:
    """Such a state names no protected resource, and its buckets do not come before the key that decrypts them."""
    package = kind.partition(":")[0]
    provider = urn(REGION, f"pulumi:providers:{package}", "cloud")
    made_by = {"urn": provider, "custom": True, "id": "one", "type": f"pulumi:providers:{package}"}
    bucket = {
        "urn": urn(REGION, kind, "hot"),
        "custom": True,
        "id": "hot",
        "type": kind,
        "provider": f"{provider}::one",
    }
    fill(backend, REGION, made_by, bucket)
    before = left(REGION)
    with pytest.raises(EngineError, match=r"It is in: hot\."):
        commands.down(REGION)
    assert left(REGION) == before


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


def declare(backend: Path, *regions: str) -> None:
    """Writes the regions of the regional stack's file."""
    file = backend / "stacks" / f"Pulumi.{REGION}.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["skerry:stack"]["regions"] = [{"name": region} for region in regions]
    file.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("command", [commands.up, commands.preview])
@pytest.mark.parametrize("declared", [("us-west-2",), ("us-west-2", "us-east-2")])
def test_a_region_that_a_global_load_balancer_holds_is_not_removed_or_renamed_by_an_up(
    backend: Path, command: Callable[[str], None], declared: tuple[str, ...]
) -> None:
    fill(backend, REGION, tiers(), regions=["us-east-1", "us-west-2"])
    fill(backend, GLOBAL, reference(REGION), regions=["us-east-1", "eu-west-1"])
    declare(backend, *declared)
    before = left(REGION)
    with pytest.raises(EngineError) as refusal:
        command(REGION)
    assert left(REGION) == before
    given = ", ".join(sorted(declared))
    assert f"Pulumi.{REGION}.yaml: regions: has {given}, and not us-east-1, which is up" in str(refusal.value)
    assert f"Stack {GLOBAL!r} reads it" in str(refusal.value)
    assert f"./skerry up --stack {GLOBAL}" in str(refusal.value)


def test_a_stack_that_holds_regions_no_more_is_refused_while_its_region_is_read(backend: Path) -> None:
    fill(backend, REGION, tiers(), regions=["us-east-1"])
    fill(backend, GLOBAL, reference(REGION), regions=["us-east-1"])
    file = backend / "stacks" / f"Pulumi.{REGION}.yaml"
    file.write_text(file.read_text().replace("layers: [platform, apps]", "layers: [global]"))
    with pytest.raises(EngineError, match="regions: has none, and not us-east-1"):
        teardown.check_regions(REGION)


def test_a_region_that_no_other_stack_holds_may_be_removed(backend: Path) -> None:
    fill(backend, REGION, tiers(), regions=["us-east-1", "us-west-2"])
    fill(backend, GLOBAL, reference(REGION), regions=["us-west-2"])
    declare(backend, "us-west-2")
    teardown.check_regions(REGION)
    fill(backend, GLOBAL, reference("dev-aws-eu-west-1"), regions=["us-east-1"])
    teardown.check_regions(REGION)


def test_a_stack_that_nobody_has_made_yet_has_no_region_to_remove(backend: Path) -> None:
    teardown.check_regions("dev-aws-eu-west-1")
