"""Two regional stacks with a few resources of each cloud, a global one that reads them, and faults to provoke."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

settings: dict[str, Any] = pulumi.Config("skerry").require_object("stack")
target: str = settings["target"]["name"]
fault: dict[str, str] = settings.get("fault", {})


def note(**outputs: pulumi.Output[Any]) -> None:
    """Logs which outputs are unknown in this run, and exports them all."""
    for name, output in outputs.items():
        pulumi.export(name, output)
        # Not `apply`: it does not run for what is unknown.
        pulumi.Output.from_input(output.is_known()).apply(
            lambda known, name=name: pulumi.log.info(f"{name} is {'known' if known else 'unknown'}")
        )


def regional_aws() -> None:
    region: str = settings["regions"][0]["name"]
    options = pulumi.ResourceOptions(provider=aws.Provider("cloud", region=region))
    zones = aws.get_availability_zones(opts=pulumi.InvokeOptions(provider=options.provider)).names
    vpc = aws.ec2.Vpc("network", cidr_block="10.0.0.0/16", opts=options)
    subnets = [
        aws.ec2.Subnet(
            f"part-{zone}", vpc_id=vpc.id, cidr_block=f"10.0.{i}.0/24", availability_zone=zone, opts=options
        )
        for i, zone in enumerate(zones[:2])
    ]
    role = aws.iam.Role("nodes", assume_role_policy=json.dumps({"Version": "2012-10-17"}), opts=options)
    cluster = aws.eks.Cluster(
        "cluster",
        role_arn=role.arn,
        vpc_config={"subnet_ids": [subnet.id for subnet in subnets]},
        opts=options,
    )
    group = aws.eks.NodeGroup(
        "gpu",
        cluster_name=cluster.name,
        node_role_arn=role.arn,
        subnet_ids=[subnet.id for subnet in subnets],
        scaling_config={"min_size": 0, "max_size": 2, "desired_size": 0},
        opts=options,
    )
    balancer = aws.lb.LoadBalancer("front", subnets=[subnet.id for subnet in subnets], opts=options)
    in_cluster(
        pulumi.Output.json_dumps({"server": cluster.endpoint, "ca": cluster.certificate_authority.data})
    )
    note(
        vpc=vpc.id,
        cidr=vpc.cidr_block,
        security_group=cluster.vpc_config.cluster_security_group_id,
        issuer=cluster.identities[0].oidcs[0].issuer,
        scaled=group.resources[0].autoscaling_groups[0].name,
        endpoint=balancer.arn,
    )


def regional_gcp() -> None:
    region: str = settings["regions"][0]["name"]
    options = pulumi.ResourceOptions(provider=gcp.Provider("cloud", project="a-project", region=region))
    account = gcp.serviceaccount.Account("nodes", account_id="nodes", opts=options)
    cluster = gcp.container.Cluster("cluster", location=region, initial_node_count=1, opts=options)
    gcp.storage.BucketIAMMember(
        "reader",
        bucket=gcp.storage.Bucket("cold", location=region, opts=options).name,
        role="roles/storage.objectViewer",
        member=account.member,
        opts=options,
    )
    pulumi.log.warn("the reader has no key")
    service = in_cluster(pulumi.Output.format("https://{0}", cluster.endpoint))
    groups = service.metadata.annotations.apply(lambda found: found["cloud.google.com/neg-status"])
    note(email=account.email, endpoint=groups)


def in_cluster(kubeconfig: pulumi.Output[str]) -> k8s.core.v1.Service:
    options = pulumi.ResourceOptions(
        provider=k8s.Provider("cluster", kubeconfig=pulumi.Output.secret(kubeconfig))
    )
    space = k8s.core.v1.Namespace("serving", opts=options)
    word = pulumi.Config().get("word") or "a word"
    k8s.core.v1.Secret(
        "key",
        metadata={"namespace": space.metadata.name},
        string_data={"word": pulumi.Output.secret(word)},
        opts=options,
    )
    return k8s.core.v1.Service(
        "answers",
        metadata={
            "namespace": space.metadata.name,
            "annotations": {"cloud.google.com/neg": '{"exposed_ports": {"80": {"name": "answers"}}}'},
        },
        spec={"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "answers"}},
        opts=options,
    )


def everywhere() -> None:
    options = pulumi.ResourceOptions(provider=aws.Provider("cloud", region="us-west-2"))
    accelerator = aws.globalaccelerator.Accelerator("front", opts=options)
    listener = aws.globalaccelerator.Listener(
        "https",
        accelerator_arn=accelerator.arn,
        protocol="TCP",
        port_ranges=[{"from_port": 443, "to_port": 443}],
        opts=options,
    )
    for region in settings["regions"]:
        endpoint = pulumi.StackReference(f"organization/rehearsed/{region['stack']}").require_output(
            "endpoint"
        )
        aws.globalaccelerator.EndpointGroup(
            region["name"],
            listener_arn=listener.id,
            endpoint_group_region=region["name"],
            endpoint_configurations=[{"endpoint_id": endpoint}],
            opts=options,
        )
        pulumi.export(region["name"], endpoint)
    note(address=accelerator.dns_name)


def provoke() -> None:
    """A fault of the stack file's choice."""
    options = pulumi.ResourceOptions(provider=aws.Provider("faulty", region="us-east-1"))
    if fault["kind"] == "crash":
        aws.s3.Bucket("started", opts=options)
        pulumi.log.warn(f"it sees {' '.join(f'{key}={value}' for key, value in os.environ.items())}'")
        raise KeyError("a bug of the program")
    if fault["kind"] == "two changes":
        aws.s3.Bucket("restless", tags={"run": secrets.token_hex()}, opts=options)
        control = aws.cloudfront.OriginAccessControl(
            "asked",
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
            opts=options,
        )
        aws.s3.Bucket("wired", bucket=control.etag, tags={"of": control.id}, opts=options)
    elif fault["kind"] == "loose guard":
        bucket = aws.s3.Bucket("full", bucket="a-bucket-with-objects", opts=options)
        aws.s3.BucketPublicAccessBlock("closed", bucket=bucket.bucket, block_public_acls=True, opts=options)
    elif fault["kind"] == "early grant":
        google = pulumi.ResourceOptions(provider=gcp.Provider("google", project="p", region="us-central1"))
        gcp.container.Cluster(
            "cluster",
            location="us-central1",
            workload_identity_config={"workload_pool": "p.svc.id.goog"},
            opts=google,
        )
        pod = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p.svc.id.goog/subject/a"
        bucket = gcp.storage.Bucket("cold", location="us-central1", opts=google)
        gcp.storage.BucketIAMMember("early", bucket=bucket.name, role="a", member=pod, opts=google)
    elif fault["kind"] == "question":
        aws.ec2.get_ami(most_recent=True, opts=pulumi.InvokeOptions(provider=options.provider))
    elif not pulumi.runtime.is_dry_run():  # it hangs in `up`
        Path(fault["mark"]).touch()
        time.sleep(600)


{"aws": regional_aws, "gcp": regional_gcp, "global": everywhere, "faulty": provoke}[target]()
