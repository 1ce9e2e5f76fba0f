"""Jobs: work that ends. `up` starts most of them and does not wait for their end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pulumi_kubernetes as k8s
from pulumi import Input, Output, ResourceOptions

from components.k8s import pods
from components.naming import physical_name

LONGEST_JOB = 50
"""Characters of a Job's name: pods are called NAME-INDEX and their host names hold 63."""
ATTEMPT = "skerry.dev/attempt"
"""Annotation of pods with the number of the attempt, from the second one on."""


def job(
    name: str,
    component: str,
    title: str,
    pod: pods.Json,
    *,
    namespace: Input[str],
    opts: ResourceOptions,
    attempt: int = 1,
    annotations: Mapping[str, str] = pods.NO_AWAIT,
    scraped: Mapping[str, str] | None = None,
    **spec: Any,
) -> k8s.batch.v1.Job:
    """A Job. No autoscaler evicts its pods. A changed Job is deleted before the new one is made, so that the old pods
    are asked to stop first.

    Args:
        name: of the resource.
        component: what its pods are labelled as.
        title: what it is called in the cluster, with the digest of its spec behind.
        pod: from `pods.pod`.
        namespace: where it runs.
        opts: parent and what must be there before.
        attempt: a higher number makes another Job that does the same.
        annotations: how `up` treats the Job.
        scraped: annotations of the pods, from `pods.scraped`.
        spec: how many pods, how often again, and what else a Job has.
    """
    kept = {**pods.KEEP, **(scraped or {}), **({ATTEMPT: str(attempt)} if attempt > 1 else {})}
    template = {
        "metadata": {"labels": pods.labels(component, title), "annotations": kept},
        "spec": pod,
    }
    whole = pods.plain({**spec, "template": template})
    return k8s.batch.v1.Job(
        f"{name}-job",
        metadata={
            "name": job_name(title, whole),
            "namespace": namespace,
            "labels": pods.selector(component, title),
            "annotations": annotations,
        },
        spec=whole,
        opts=ResourceOptions.merge(opts, ResourceOptions(delete_before_replace=True)),
    )


def job_name(title: str, spec: Mapping[str, Any]) -> Output[str]:
    """A name that holds the digest of all that a Job does. A Job cannot be changed, so another one is made."""
    digest = Output.json_dumps(pods.plain(spec), sort_keys=True).apply(
        lambda text: hashlib.sha256(text.encode()).hexdigest()
    )
    return digest.apply(lambda found: physical_name(title, found[:12], limit=LONGEST_JOB))
