"""A failed training run is found by the real engine: a Job that fails after `up`, which does not wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli import engine, runs
from cli import stack as stacks
from cli.rehearsal.stage import Stage, stage
from tools.paths import ROOT, TOOLKIT

PROGRAM = f"""
import sys

sys.path.insert(0, {str(ROOT)!r})

import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from components.k8s import jobs, pods

provider = ResourceOptions(provider=k8s.Provider("here"))
space = k8s.core.v1.Namespace("space", metadata={{"name": "skerry"}}, opts=provider)
account = k8s.core.v1.ServiceAccount(
    "account",
    metadata={{"name": "account", "namespace": "skerry"}},
    opts=ResourceOptions(provider=provider.provider, depends_on=[space]),
)
after = ResourceOptions(provider=provider.provider, depends_on=[account])
for run, command in (("coder", "false"), ("calm", "true")):
    pod = pods.pod(pods.container("training", "image", [command], {{}}), "account", pods.WORK)
    jobs.job(f"here-{{run}}", "training", f"train-{{run}}", pod, namespace="skerry", opts=after)
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage with a stack `dev` that is up, where the commands of `./skerry` find it."""
    with stage() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        for module in (engine, stacks):
            monkeypatch.setattr(module, "ROOT", tmp_path)
        runtime = {"name": "python", "options": {"virtualenv": str(TOOLKIT)}}
        project = {"name": "skerry", "runtime": runtime, "stackConfigDir": "stacks"}
        (tmp_path / "stacks").mkdir()
        (tmp_path / "stacks" / "Pulumi.dev.yaml").write_text("config: {}\n")
        embedded = f"Pulumi.{engine.EMBEDDED}.yaml"
        (tmp_path / "stacks" / embedded).write_text((ROOT / "stacks" / embedded).read_text())
        (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump(project))
        (tmp_path / "__main__.py").write_text(PROGRAM)
        run = Stage(found.folder, {**found.environment, "PULUMI_STACK": "dev"})
        for words in (("stack", "init", "dev", "--no-select"), ("up", "--yes", "--skip-preview")):
            done = run.run(tmp_path, *words)
            assert done.status == 0, done.text
        yield run


def test_a_run_that_fails_after_up_is_reported_after_a_refresh_of_its_job_alone(made: Stage) -> None:
    assert runs.failed(stacks.resources("dev")) == []
    runs.refresh("dev")
    (sentence,) = runs.failed(stacks.resources("dev"))
    assert sentence.startswith("training run 'coder' failed: BackoffLimitExceeded: ")
