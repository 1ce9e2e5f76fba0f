"""Jobs: work that ends, which `up` starts and does not wait for."""

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


def job(
    name: str,
    component: str,
    title: str,
    pod: pods.Json,
    *,
    namespace: Input[str],
    opts: ResourceOptions,
    **spec: Any,
) -> k8s.batch.v1.Job:
    """A Job.

    Args:
        name: of the resource.
        component: what its pods are labelled as.
        title: what it is called in the cluster, with the digest of its spec behind.
        pod: from `pods.pod`.
        namespace: where it runs.
        opts: parent and what must be there before.
        spec: how many pods, how often again, and what else a Job has.
    """
    template = {"metadata": {"labels": pods.labels(component, title)}, "spec": pod}
    whole = pods.plain({**spec, "template": template})
    return k8s.batch.v1.Job(
        f"{name}-job",
        metadata={
            "name": job_name(title, whole),
            "namespace": namespace,
            "labels": pods.selector(component, title),
            "annotations": pods.NO_AWAIT,
        },
        spec=whole,
        opts=opts,
    )


def job_name(title: str, spec: Mapping[str, Any]) -> Output[str]:
    """A name that holds the digest of all that a Job does. A Job cannot be changed, so another one is made, and the old
    one goes when the new one is there."""
    digest = Output.json_dumps(pods.plain(spec), sort_keys=True).apply(
        lambda text: hashlib.sha256(text.encode()).hexdigest()
    )
    return digest.apply(lambda found: physical_name(title, found[:12], limit=LONGEST_JOB))
