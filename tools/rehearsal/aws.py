"""The stand-in for `aws`. Values are made up: ARNs of the documentation's account, names under example.com."""

from __future__ import annotations

import base64

from components.local.provider.values import Properties
from tools.rehearsal.package import Package, Resource, Row

ACCOUNT = "111122223333"
DOMAIN = "example.com"
REGION = "us-east-1"
"""Where a provider was given no region, as one of a global service may be."""
CERTIFICATE = base64.b64encode(b"the certificate authority of a rehearsal").decode()

EC2_IDS = {
    "Eip": "eipalloc",
    "EgressOnlyInternetGateway": "eigw",
    "FlowLog": "fl",
    "Instance": "i",
    "InternetGateway": "igw",
    "LaunchTemplate": "lt",
    "NatGateway": "nat",
    "NetworkAcl": "acl",
    "NetworkInterface": "eni",
    "PlacementGroup": "pg",
    "RouteTable": "rtb",
    "RouteTableAssociation": "rtbassoc",
    "SecurityGroup": "sg",
    "SecurityGroupEgressRule": "sgr",
    "SecurityGroupIngressRule": "sgr",
    "Subnet": "subnet",
    "Volume": "vol",
    "Vpc": "vpc",
    "VpcEndpoint": "vpce",
}
"""Prefix of an id, by kind; the kind's own name otherwise."""
SERVICES = {"cloudwatch": "logs", "lb": "elasticloadbalancing", "vpc": "ec2"}
"""The service in an ARN, where the type's module is called otherwise."""
WITHOUT_REGION = {"cloudfront", "globalaccelerator", "iam", "route53"}
"""Services whose ARNs name no region."""


def region(inputs: Properties, config: Properties) -> str:
    """A resource's own region goes before its provider's."""
    return inputs.get("region") or config.get("region") or REGION


def service(resource: Resource) -> str:
    return SERVICES.get(resource.module, resource.module)


def arn(resource: Resource, rest: str) -> str:
    """An ARN of the documentation's account."""
    place = "" if service(resource) in WITHOUT_REGION else region(resource.inputs, resource.config)
    return f"arn:aws:{service(resource)}:{place}:{ACCOUNT}:{rest}"


def name(resource: Resource) -> str:
    return resource.inputs.get("name") or resource.autoname


def default(resource: Resource) -> Properties:
    """An id, a name and an ARN, which most types have."""
    if service(resource) == "ec2":
        prefix = EC2_IDS.get(resource.kind, resource.kind.lower())
        identity = resource.id or f"{prefix}-{resource.hex[:17]}"
    else:
        identity = resource.id or name(resource)
    return {
        "id": identity,
        "name": name(resource),
        "arn": arn(resource, f"{resource.kind.lower()}/{identity}"),
        "region": region(resource.inputs, resource.config),
    }


def with_arn_as_id(rest: str) -> Row:
    """Types whose id is their ARN; `rest` may hold {name} and {hex}."""

    def row(resource: Resource) -> Properties:
        tail = rest.format(name=name(resource), hex=resource.hex[:16])
        identity = resource.id or arn(resource, tail)
        return {"id": identity, "arn": identity}

    return row


def vpc(resource: Resource) -> Properties:
    return {
        "defaultSecurityGroupId": f"sg-{resource.hex[:17]}",
        "defaultRouteTableId": f"rtb-{resource.hex[:17]}",
        "mainRouteTableId": f"rtb-{resource.hex[:17]}",
        "defaultNetworkAclId": f"acl-{resource.hex[:17]}",
    }


def eip(resource: Resource) -> Properties:
    return {"allocationId": default(resource)["id"], "publicIp": f"203.0.113.{resource.number}"}


def role(resource: Resource) -> Properties:
    path = resource.inputs.get("path") or "/"
    return {
        "arn": arn(resource, f"role{path}{name(resource)}"),
        "uniqueId": f"AROA{resource.hex[:17]}",
    }


def oidc_provider(resource: Resource) -> Properties:
    host = str(resource.inputs.get("url", DOMAIN)).removeprefix("https://")
    identity = resource.id or arn(resource, f"oidc-provider/{host}")
    return {"id": identity, "arn": identity}


def cluster(resource: Resource) -> Properties:
    host = f"{region(resource.inputs, resource.config)}.eks.{DOMAIN}"
    return {
        "endpoint": f"https://{resource.hex[:32].upper()}.{host}",
        "certificateAuthority": {"data": CERTIFICATE},
        "identities": [{"oidcs": [{"issuer": f"https://oidc.{host}/id/{resource.hex[:32].upper()}"}]}],
        "vpcConfig": {
            "clusterSecurityGroupId": f"sg-{resource.hex[:17]}",
            "vpcId": f"vpc-{resource.hex[:17]}",
        },
        "status": "ACTIVE",
    }


def node_group(resource: Resource) -> Properties:
    group = resource.inputs.get("nodeGroupName") or resource.autoname
    identity = resource.id or f"{resource.inputs.get('clusterName')}:{group}"
    return {
        "id": identity,
        "nodeGroupName": group,
        "resources": [{"autoscalingGroups": [{"name": f"eks-{group}-{resource.hex[:8]}"}]}],
        "status": "ACTIVE",
    }


def key(resource: Resource) -> Properties:
    digits = resource.hex
    identity = resource.id or "-".join(
        (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])
    )
    return {"id": identity, "keyId": identity, "arn": arn(resource, f"key/{identity}")}


def bucket(resource: Resource) -> Properties:
    called = resource.id or resource.inputs.get("bucket") or resource.autoname
    return {
        "id": called,
        "bucket": called,
        "arn": f"arn:aws:s3:::{called}",
        "bucketRegionalDomainName": f"{called}.s3.{region(resource.inputs, resource.config)}.{DOMAIN}",
    }


def load_balancer(resource: Resource) -> Properties:
    shape = {"network": "net", "gateway": "gwy"}.get(resource.inputs.get("loadBalancerType", ""), "app")
    rest = f"loadbalancer/{shape}/{name(resource)}/{resource.hex[:16]}"
    identity = resource.id or arn(resource, rest)
    return {
        "id": identity,
        "arn": identity,
        "arnSuffix": rest.partition("/")[2],
        "dnsName": f"{name(resource)}.elb.{region(resource.inputs, resource.config)}.{DOMAIN}",
        "zoneId": f"Z{resource.hex[:13].upper()}",
    }


def accelerator(resource: Resource) -> Properties:
    identity = resource.id or arn(resource, f"accelerator/{resource.hex[:32]}")
    return {
        "id": identity,
        "arn": identity,
        "dnsName": f"{resource.hex[:16]}.awsglobalaccelerator.{DOMAIN}",
        "dualStackDnsName": f"{resource.hex[:16]}.dualstack.awsglobalaccelerator.{DOMAIN}",
        "hostedZoneId": f"Z{resource.hex[:13].upper()}",
        "ipSets": [{"ipAddresses": [f"203.0.113.{resource.number}"], "ipFamily": "IPv4"}],
    }


def log_group(resource: Resource) -> Properties:
    identity = resource.id or name(resource)
    return {"id": identity, "arn": arn(resource, f"log-group:{identity}")}


ROWS: dict[str, Row] = {
    "aws:cloudwatch/logGroup:LogGroup": log_group,
    "aws:ec2/vpc:Vpc": vpc,
    "aws:ec2/eip:Eip": eip,
    "aws:ec2/launchTemplate:LaunchTemplate": lambda _: {"latestVersion": 1, "defaultVersion": 1},
    "aws:eks/cluster:Cluster": cluster,
    "aws:eks/nodeGroup:NodeGroup": node_group,
    "aws:globalaccelerator/accelerator:Accelerator": accelerator,
    "aws:globalaccelerator/listener:Listener": with_arn_as_id("accelerator/{hex}/listener/{hex}"),
    "aws:globalaccelerator/endpointGroup:EndpointGroup": with_arn_as_id(
        "accelerator/{hex}/endpoint-group/{hex}"
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": oidc_provider,
    "aws:iam/policy:Policy": with_arn_as_id("policy/{name}"),
    "aws:iam/role:Role": role,
    "aws:kms/key:Key": key,
    "aws:lb/listener:Listener": with_arn_as_id("listener/app/{name}/{hex}"),
    "aws:lb/loadBalancer:LoadBalancer": load_balancer,
    "aws:lb/targetGroup:TargetGroup": with_arn_as_id("targetgroup/{name}/{hex}"),
    "aws:s3/bucket:Bucket": bucket,
}

INVOKES = {
    "aws:index/getCallerIdentity:getCallerIdentity": lambda args, config: {
        "accountId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/rehearsal",
        "userId": "AIDAREHEARSAL",
        "id": ACCOUNT,
    },
    "aws:index/getRegion:getRegion": lambda args, config: {
        "region": region(args, config),
        "name": region(args, config),
        "id": region(args, config),
    },
    "aws:index/getPartition:getPartition": lambda args, config: {
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
        "id": "aws",
    },
    "aws:index/getAvailabilityZones:getAvailabilityZones": lambda args, config: {
        "names": [f"{region(args, config)}{letter}" for letter in "abc"],
        "zoneIds": [f"{region(args, config)}-az{number}" for number in (1, 2, 3)],
        "region": region(args, config),
        "id": region(args, config),
    },
}

PACKAGE = Package("aws", "tools/rehearsal/aws.py", default, ROWS, INVOKES)
