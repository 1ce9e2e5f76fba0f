"""Training runs of a stack that have failed on a cluster, where `up` does not wait for them.

The state holds a Job as it was when it was made. A refresh of the Jobs alone brings it up to date: Pulumi's Kubernetes
provider reads a Job that it does not await as it is, with `status.conditions` (pulumi-kubernetes,
provider/pkg/await/await.go, Read, read 2026-12-01).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cli import stack as stacks
from cli.engine import EMBEDDED, EngineError, engine_text

JOB = "kubernetes:batch/v1:Job"
NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"


def refresh(stack: str) -> None:
    """Reads the stack's training Jobs from their clusters into the state. A cluster that cannot be reached is reported
    and ends nothing: the `up` that follows may be what makes it reachable."""
    if stack == EMBEDDED:  # its `up` waits for runs
        return
    try:
        urns = [job["urn"] for job in _jobs(stacks.resources(stack))]
    except EngineError:  # not up yet
        return
    if not urns:
        return
    targets = [word for urn in urns for word in ("--target", urn)]
    try:
        engine_text(stack, stacks.ROOT, "refresh", "--yes", "--skip-preview", *targets)
    except EngineError as error:
        print(f"skerry: training runs were not looked at: {error}", file=sys.stderr)


def failed(resources: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each failed run, with its reason and the remedy.

    Args:
        resources: of the state, as the engine stores them.
    """
    return [
        _sentence(job, condition)
        for job in _jobs(resources)
        for condition in ((job.get("outputs") or {}).get("status") or {}).get("conditions") or []
        if (condition.get("type"), condition.get("status")) == ("Failed", "True")
    ]


def _sentence(job: Mapping[str, Any], condition: Mapping[str, Any]) -> str:
    metadata = job["outputs"]["metadata"]
    run = metadata["labels"][INSTANCE].removeprefix("train-")
    annotations = job["outputs"]["spec"]["template"]["metadata"].get("annotations") or {}
    attempt = int(annotations.get("skerry.dev/attempt", "1"))
    return (
        f"training run {run!r} failed: {condition.get('reason')}: {condition.get('message')}. Read "
        f"`kubectl logs --namespace {metadata['namespace']} --selector batch.kubernetes.io/job-name={metadata['name']}"
        f" --prefix`, correct the cause, then set `attempt: {attempt + 1}` of the run in the stack file and run `up` "
        "again: it continues from its last checkpoint."
    )


def _jobs(resources: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for resource in resources:
        labels = ((resource.get("inputs") or {}).get("metadata") or {}).get("labels") or {}
        if resource.get("type") == JOB and labels.get(NAME) == "training" and not resource.get("delete"):
            yield resource
