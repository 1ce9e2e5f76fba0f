"""What `./skerry env` hands out, to whom, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import engine
from cli.engine import EngineError, environment, uses_default_state

OWN_BACKEND = "file:///somewhere/else"
LOCAL = {
    "config": {"skerry:stack": {"target": {"name": "local"}}},
    "encryptionsalt": "v1:cHVibGlj:v1:bm9uY2U=:dGV4dA==",
}
OTHER: dict[str, Any] = {"config": {"skerry:stack": {"target": {"name": "cloud"}}}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, and a shell that holds nothing of Pulumi."""
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    monkeypatch.setattr(engine, "STATE", tmp_path / ".skerry" / "state")
    for key in (
        "PULUMI_BACKEND_URL",
        "PULUMI_CONFIG_PASSPHRASE",
        "PULUMI_CONFIG_PASSPHRASE_FILE",
        "PULUMI_OPTION_REFRESH",
    ):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    write(tmp_path, "local", LOCAL)
    write(tmp_path, "prod", OTHER)
    return tmp_path


def write(project: Path, stack: str, content: object) -> None:
    (project / "stacks").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (project / "stacks" / f"Pulumi.{stack}.yaml").write_text(text)


def log_in(project: Path, url: str) -> None:
    (project / "home").mkdir()
    (project / "home" / "credentials.json").write_text(json.dumps({"current": url}))


def test_the_local_stack_gets_a_state_in_the_clone_and_an_empty_passphrase(project: Path) -> None:
    variables = environment("local")
    assert variables["PULUMI_BACKEND_URL"] == (project / ".skerry/state").as_uri()
    assert variables["PULUMI_CONFIG_PASSPHRASE"] == ""
    assert variables["PULUMI_OPTION_REFRESH"] == "true"
    assert variables["PULUMI_STACK"] == "local"


def test_a_backend_of_the_users_own_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", OWN_BACKEND)
    assert "PULUMI_BACKEND_URL" not in environment("local")
    assert not uses_default_state()


def test_a_login_of_the_users_own_wins(project: Path) -> None:
    log_in(project, OWN_BACKEND)
    assert "PULUMI_BACKEND_URL" not in environment("local")
    assert not uses_default_state()


def test_a_secrets_provider_of_the_users_own_wins(project: Path) -> None:
    write(project, "local", {**LOCAL, "secretsprovider": "awskms://alias/x"})
    assert "PULUMI_CONFIG_PASSPHRASE" not in environment("local")


def test_a_passphrase_for_other_stacks_does_not_lock_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", "/some/file")
    assert environment("local")["PULUMI_CONFIG_PASSPHRASE"] == ""
    assert environment("local")["PULUMI_CONFIG_PASSPHRASE_FILE"] is None


def test_another_stack_needs_a_backend_of_its_own() -> None:
    with pytest.raises(EngineError, match=r"has no backend.*pulumi login"):
        environment("prod")


@pytest.mark.parametrize("how", ["variable", "login", "another spelling"])
def test_another_stack_never_gets_the_local_state(
    project: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    url = (project / ".skerry/state").as_uri()
    if how == "login":
        log_in(project, url)
    else:
        spelling = url if how == "variable" else f"{project.as_uri()}/stacks/../.skerry/state/"
        monkeypatch.setenv("PULUMI_BACKEND_URL", spelling)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "own")
    with pytest.raises(EngineError, match="is the state of stack 'local'"):
        environment("prod")


def test_another_stack_needs_a_secrets_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", OWN_BACKEND)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    with pytest.raises(EngineError, match="has no secrets provider"):
        environment("prod")


def test_another_stack_never_gets_the_public_salt(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", OWN_BACKEND)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "own")
    write(project, "prod", {**OTHER, "encryptionsalt": LOCAL["encryptionsalt"]})
    with pytest.raises(EngineError, match="carries the public salt"):
        environment("prod")


def test_what_a_shell_still_holds_of_the_local_stack_is_unset_for_another(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "prod", {**OTHER, "secretsprovider": "awskms://alias/x"})
    monkeypatch.setenv("PULUMI_BACKEND_URL", OWN_BACKEND)
    monkeypatch.setenv("PULUMI_OPTION_REFRESH", "true")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    variables = environment("prod")
    assert variables["PULUMI_OPTION_REFRESH"] is None
    assert variables["PULUMI_CONFIG_PASSPHRASE"] is None
    assert "PULUMI_BACKEND_URL" not in variables


def test_target_local_under_another_name_is_refused_because_a_clone_has_one_set_of_ports(
    project: Path,
) -> None:
    write(project, "mine", LOCAL)
    with pytest.raises(EngineError, match="runs as stack 'local' only"):
        environment("mine")


def test_an_unknown_stack_is_answered_with_those_that_exist() -> None:
    with pytest.raises(EngineError, match="Stacks of this project: local, prod"):
        environment("nobody")


def test_a_file_that_is_no_yaml_is_named_with_the_line(project: Path) -> None:
    write(project, "local", "config:\n  - a\n b: [")
    with pytest.raises(EngineError, match=r"(?s)stacks/Pulumi.local.yaml, line 3: is no YAML"):
        environment("local")
