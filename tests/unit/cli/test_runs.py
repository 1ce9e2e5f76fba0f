"""Failed training runs, from the state of a stack. The status is what the Job controller of Kubernetes 1.36.3 wrote."""

from __future__ import annotations

from typing import Any

from cli import runs

FAILURE = {
    "type": "Failed",
    "status": "True",
    "reason": "BackoffLimitExceeded",
    "message": "Job has reached the specified backoff limit",
}


def job(
    *conditions: dict[str, str], component: str = "training", attempt: str | None = None, **more: Any
) -> dict[str, Any]:
    """A Job in the state."""
    metadata = {
        "name": "train-coder-0123456789ab",
        "namespace": "skerry",
        "labels": {"app.kubernetes.io/name": component, "app.kubernetes.io/instance": "train-coder"},
    }
    annotations = {"skerry.dev/attempt": attempt} if attempt else {}
    spec = {"template": {"metadata": {"annotations": annotations}}}
    return {
        "urn": "urn:pulumi:dev::skerry::kubernetes:batch/v1:Job::here-coder-training-job",
        "type": "kubernetes:batch/v1:Job",
        "inputs": {"metadata": metadata, "spec": spec},
        "outputs": {"metadata": metadata, "spec": spec, "status": {"conditions": list(conditions)}},
        **more,
    }


def test_a_failed_run_is_named_with_its_reason_and_the_next_attempt() -> None:
    (first,) = runs.failed([job(FAILURE)])
    assert "training run 'coder' failed: BackoffLimitExceeded: Job has reached" in first
    assert "--selector batch.kubernetes.io/job-name=train-coder-0123456789ab" in first
    assert "set `attempt: 2` of the run" in first
    (third,) = runs.failed([job(FAILURE, attempt="2")])
    assert "set `attempt: 3` of the run" in third


def test_a_run_that_goes_on_or_has_ended_well_is_not_reported() -> None:
    ended = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
    suspected = {**FAILURE, "status": "False"}
    assert runs.failed([job(), job(*ended), job(suspected), {"type": "pulumi:pulumi:Stack"}]) == []


def test_a_job_that_only_publishes_and_one_that_is_being_deleted_are_not_reported() -> None:
    assert runs.failed([job(FAILURE, component="publishing"), job(FAILURE, delete=True)]) == []
