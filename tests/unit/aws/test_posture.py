"""What must hold of everything that a region makes, and what must not be there."""

from __future__ import annotations

import json

import pytest
from pulumi import Output

from components.aws.host import AwsClusterHost
from components.aws.platform import AwsPlatform
from components.aws.settings import AwsTarget
from components.contracts import RegionEndpoint, RegionTraffic, ServiceAccount
from components.settings.load import load_stack_settings
from tests.recorder import Recording, Registered, record
from tests.stand_ins import StandIns
from tests.unit.aws.regions import ACCOUNT, CLUSTER, LABELS, REGION, everything, made, pool, region
from tests.unit.settings.files import ROOT, settings_of

AUTONAMED = 8
"""Characters that autonaming appends."""
LIMITS = {
    "aws:iam/role:Role": 64,
    "aws:eks/nodeGroup:NodeGroup": 63,
    "aws:lb/loadBalancer:LoadBalancer": 32,
    "aws:lb/targetGroup:TargetGroup": 32,
    "aws:ec2/launchTemplate:LaunchTemplate": 128,
}
"""Type -> longest name (quotas and API references of the services, read 2026-11-24)."""


def of_cloud(recording: Recording) -> list[Registered]:
    return [found for found in recording.resources.values() if found.custom and not found.is_provider]


def test_no_resource_uses_a_default_provider() -> None:
    assert [found.urn for found in of_cloud(region()) if not found.provider] == []


def test_resources_of_aws_use_the_regions_provider_and_objects_the_clusters() -> None:
    for found in of_cloud(region()):
        package = found.kind.partition(":")[0]
        name = {"aws": f"{REGION}-aws", "time": "delays", "kubernetes": f"{REGION}-cluster"}[package]
        assert f"::{name}::" in found.provider, found.urn


def test_the_provider_refuses_other_accounts_and_tags_everything() -> None:
    (provider,) = region().of("providers:aws")
    assert json.loads(provider.inputs["allowedAccountIds"]) == [ACCOUNT]
    assert json.loads(provider.inputs["defaultTags"]) == {"tags": LABELS}
    assert provider.inputs["region"] == REGION


def test_only_ways_out_and_clients_of_the_load_balancer_are_open_to_everybody() -> None:
    found = {
        resource.kind.rpartition(":")[2]
        for resource in of_cloud(region())
        if "0.0.0.0/0" in json.dumps(resource.inputs)
    }
    assert found == {"Route", "SecurityGroupIngressRule"}
    (rule,) = [
        rule
        for rule in region().of(":SecurityGroupIngressRule")
        if rule.inputs.get("cidrIpv4") == "0.0.0.0/0"
    ]
    assert rule.name == f"{REGION}-endpoint-clients"


def test_nothing_in_the_cluster_asks_aws_for_a_load_balancer_of_its_own() -> None:
    assert {service.inputs["spec"]["type"] for service in region().of(":Service")} == {"NodePort"}
    assert not region().of(":Ingress")


def test_no_user_and_no_long_lived_credential_is_made() -> None:
    assert not [
        found for found in of_cloud(region()) if found.kind.startswith(("aws:iam/user", "aws:iam/accessKey"))
    ]


def test_every_component_registers_its_outputs() -> None:
    components = [found for found in region().resources.values() if not found.custom]
    assert [found.urn for found in components if found.outputs is None] == []


@pytest.mark.parametrize("kind", LIMITS)
def test_every_name_fits_its_service_also_where_region_and_pool_are_long(kind: str) -> None:
    def ask(host: AwsClusterHost) -> None:
        host.pool(pool(name="a" * 40))
        host.access(ServiceAccount("skerry", f"publish-{'a' * 40}"), [])
        everything(host)

    found = made(ask, "ap-southeast-1").of(kind.partition(":")[2])
    assert found and all(len(resource.name) + AUTONAMED <= LIMITS[kind] for resource in found)


def global_layer() -> Recording:
    """The global stack, over regions that other stacks told of."""
    settings = load_stack_settings(settings_of(ROOT / "stacks" / "Pulumi.dev-aws-global.yaml"))
    target = settings.target
    assert isinstance(target, AwsTarget)

    def program() -> object:
        handle = Output.from_input(json.dumps({"load_balancer_arn": "arn"}))
        traffic = {
            one.name: RegionTraffic(RegionEndpoint(handle, handle), one.dial, one.drained)
            for one in settings.regions
        }
        return AwsPlatform(settings, target).load_balancer(traffic).url

    return record(program, StandIns(), stack="dev-aws-global")


def test_a_stack_of_the_global_layer_has_one_provider_where_the_accelerators_api_is() -> None:
    providers = [found for found in global_layer().resources.values() if found.is_provider]
    assert [provider.inputs["region"] for provider in providers] == ["us-west-2"]


def test_a_stack_of_the_global_layer_makes_nothing_but_the_accelerator() -> None:
    kinds = {found.kind.partition("/")[0] for found in of_cloud(global_layer())}
    assert kinds == {"aws:globalaccelerator"}


def test_the_cluster_is_named_by_stack_and_region() -> None:
    assert region().of("eks/cluster:Cluster")[0].inputs["name"] == CLUSTER
