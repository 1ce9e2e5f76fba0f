"""What the program is told when a stack's config cannot be used."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pulumi
import pytest
from pulumi.runtime import config as runtime_config
from pulumi.runtime import set_all_config

from components.settings.load import load_stack_settings
from components.settings.read import REHEARSAL, read_stack_settings
from tests.contract.targets import TARGETS
from tests.unit.settings.files import LOCAL

STACK = json.dumps(LOCAL)


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts with no config, and leaves what was there."""
    monkeypatch.delenv("PULUMI_CONFIG", raising=False)
    monkeypatch.setattr("pulumi.get_stack", lambda: "prod")
    before, secret = dict(runtime_config.CONFIG.get()), list(runtime_config._SECRET_KEYS.get())
    set_all_config({}, [])
    yield
    set_all_config(before, secret)


def test_the_settings_of_the_stack_are_read() -> None:
    set_all_config({"skerry:stack": STACK}, [])
    assert read_stack_settings() == load_stack_settings(LOCAL)


@pytest.mark.parametrize("value", [None, "[]", "7", "just text"])
def test_a_stack_without_settings_is_told_where_they_stand_and_what_they_look_like(value: str | None) -> None:
    set_all_config({} if value is None else {"skerry:stack": value}, [])
    with pytest.raises(pulumi.RunError, match="skerry:stack") as caught:
        read_stack_settings()
    assert "stacks/Pulumi.prod.yaml" in str(caught.value)
    assert "stacks/Pulumi.local.yaml" in str(caught.value) and "stacks/README.md" in str(caught.value)


def test_mistakes_are_told_with_the_file_that_holds_them() -> None:
    set_all_config({"skerry:stack": json.dumps({**LOCAL, "environment": 7})}, [])
    with pytest.raises(pulumi.RunError, match=r"stacks/Pulumi\.prod\.yaml: (?s:.*)environment: 7"):
        read_stack_settings()


def test_another_plain_key_of_our_namespace_is_refused_by_name() -> None:
    set_all_config({"skerry:stack": STACK, "skerry:stak": "text"}, [])
    with pytest.raises(pulumi.RunError, match="skerry:stak") as caught:
        read_stack_settings()
    assert "skerry:stack" in str(caught.value) and "remove it" in str(caught.value)
    assert "text" not in str(caught.value)


def test_a_misspelt_stack_key_is_named_although_there_are_no_settings() -> None:
    set_all_config({"skerry:stak": STACK}, [])
    with pytest.raises(pulumi.RunError, match="skerry:stak"):
        read_stack_settings()


def test_a_secret_key_of_our_namespace_is_left_to_who_needs_it() -> None:
    set_all_config({"skerry:stack": STACK, "skerry:token": "hunter2"}, ["skerry:token"])
    assert read_stack_settings() == load_stack_settings(LOCAL)


def test_keys_of_other_namespaces_are_left_to_others() -> None:
    set_all_config({"skerry:stack": STACK, "aws:region": "us-east-1", "skerryx:stak": "1"}, [])
    assert read_stack_settings() == load_stack_settings(LOCAL)


@pytest.fixture
def unresolved(monkeypatch: pytest.MonkeyPatch) -> str:
    """A stack file whose gateway nobody has looked up, as it is read by the program."""
    monkeypatch.delenv(REHEARSAL, raising=False)
    target = TARGETS["aws"].target
    region = TARGETS["aws"].regions[0]
    images = {key: value for key, value in target["images"].items() if key != "gateway"}
    return json.dumps(
        {
            "environment": "test",
            "layers": ["platform"],
            "target": {**target, "images": images, "networks": {region: target["networks"][region]}},
            "regions": [{"name": region}],
        }
    )


def test_up_makes_nothing_of_what_nobody_has_looked_up(
    unresolved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: False)
    set_all_config({"skerry:stack": unresolved}, [])
    with pytest.raises(pulumi.RunError, match=r"unresolved: target\.images\.gateway\.") as caught:
        read_stack_settings()
    assert "NAME@sha256:..." in str(caught.value) and "rehearse" in str(caught.value)


def test_a_preview_warns_of_what_nobody_has_looked_up(
    unresolved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: True)
    monkeypatch.setattr("pulumi.log.warn", warnings.append)
    set_all_config({"skerry:stack": unresolved}, [])
    assert read_stack_settings().target.name == "aws"
    assert len(warnings) == 1 and "target.images.gateway" in warnings[0]


def test_a_rehearsal_goes_on_without(unresolved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: False)
    monkeypatch.setenv(REHEARSAL, "1")
    set_all_config({"skerry:stack": unresolved}, [])
    assert read_stack_settings().target.name == "aws"


def test_a_digest_that_nobody_has_looked_up_is_unresolved_too(
    unresolved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: False)
    models = [{"name": "given", "source": "s3://bucket/given", "digest": "unresolved"}]
    set_all_config(
        {
            "skerry:stack": json.dumps(
                {**json.loads(unresolved), "layers": ["platform", "apps"], "models": models}
            )
        },
        [],
    )
    with pytest.raises(pulumi.RunError, match=r"models\[0\]\.digest"):
        read_stack_settings()
