"""What every node is made of: Bottlerocket, encrypted volumes, and metadata that pods cannot reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions
from pulumi_aws.ec2 import LaunchTemplateCapacityReservationSpecificationArgsDict

from components.aws.versions import ClusterVersions
from components.catalog.disks import POOL_DISKS
from components.catalog.rows import Kind

IMAGES: Mapping[tuple[Kind, str], str] = {
    (Kind.CPU, "amd64"): "BOTTLEROCKET_x86_64",
    (Kind.CPU, "arm64"): "BOTTLEROCKET_ARM_64",
    (Kind.GPU, "amd64"): "BOTTLEROCKET_x86_64_NVIDIA",
    (Kind.GPU, "arm64"): "BOTTLEROCKET_ARM_64_NVIDIA",
}
"""Kind of accelerator and architecture -> `amiType` of a node group. The NVIDIA variants bring driver, container
toolkit and the device plugin that offers nvidia.com/gpu, so that none is installed
(bottlerocket-os/bottlerocket at 91632ff, QUICKSTART-EKS.md and variants/aws-k8s-1.31-nvidia/Cargo.toml, read
2026-11-24). The names: EKS API as modelled in botocore 1.44.8, AMITypes, same day."""
SYSTEM_VOLUME, DATA_VOLUME = "/dev/xvda", "/dev/xvdb"
DATA_GIB = POOL_DISKS["aws"].gib
"""Of the volume that holds images, logs and scratch folders. An image with CUDA and torch unpacks to some 10 GiB, and
Bottlerocket's 20 GiB hold one of them."""
NODE_TAGS = ("instance", "volume", "network-interface")
LONGEST_GROUP = 63 - 8
"""Of a node group's name (pulumi_aws 7.51.1, eks.NodeGroup, read 2026-11-24), less what autonaming appends."""


class NodeSetup(TypedDict):
    """What every node group of a cluster shares."""

    cluster: Input[str]
    """Name of the cluster, known when nodes can join it."""
    role: Input[str]
    """ARN of the nodes' role."""
    subnets: Mapping[str, Output[str]]
    """Zone -> id of its private subnet."""
    versions: ClusterVersions
    """What the cluster is made of."""
    volumes_key: Input[str]
    """ARN of the key that encrypts the volumes."""
    labels: Mapping[str, str]
    """Tags of machines and their volumes: those that EC2 makes later do not get the provider's."""


def launch_template(
    name: str,
    setup: NodeSetup,
    opts: ResourceOptions,
    reservation: LaunchTemplateCapacityReservationSpecificationArgsDict | None = None,
) -> aws.ec2.LaunchTemplate:
    """How a node group's machines start. Image, type and user data are left to EKS.

    Args:
        name: name in the stack.
        setup: what all node groups share.
        opts: whose child it is.
        reservation: which reserved capacity they may take; left out, what EC2 thinks right.
    """
    volume: aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgsDict = {
        "encrypted": "true",
        "kms_key_id": setup["volumes_key"],
        "volume_type": "gp3",
        "delete_on_termination": "true",
    }
    return aws.ec2.LaunchTemplate(
        name,
        update_default_version=True,
        block_device_mappings=[
            {"device_name": SYSTEM_VOLUME, "ebs": volume},
            {"device_name": DATA_VOLUME, "ebs": {**volume, "volume_size": DATA_GIB}},
        ],
        # One hop ends at the node: no pod gets the node's own credentials.
        metadata_options={
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
            "instance_metadata_tags": "disabled",
        },
        capacity_reservation_specification=reservation,
        tag_specifications=[
            {"resource_type": kind, "tags": {**setup["labels"], "Name": name}} for kind in NODE_TAGS
        ],
        opts=opts,
    )


def version_of(template: aws.ec2.LaunchTemplate) -> aws.eks.NodeGroupLaunchTemplateArgsDict:
    """A node group's reference to a launch template: a new version of it rolls the nodes."""
    return {"id": template.id, "version": template.latest_version.apply(str)}
