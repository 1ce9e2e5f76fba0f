"""What every cluster host keeps to: the seam below a region on Kubernetes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pulumi
import pytest
from pulumi import Output

from components.catalog.accelerators import machine
from components.catalog.notices import SPOT_NOTICE_SECONDS
from components.contracts import Access, Backend, ClusterHost, Grant, Placement, ServiceAccount
from components.k8s.region import K8sRegion
from components.settings.items import Capacity, PoolSettings
from components.settings.model import StackSettings
from tests.contract.programs import with_regions
from tests.contract.targets import CLUSTERS, TARGETS, Case
from tests.recorder import Recording

LADDER = (Capacity.RESERVED, Capacity.SPOT, Capacity.ON_DEMAND)
GPU = "a100-40gb"
ACCOUNT = ServiceAccount("skerry", "reader")


@pytest.fixture(params=CLUSTERS)
def case(request: pytest.FixtureRequest) -> Case:
    return TARGETS[request.param]


def with_host(case: Case, use: Callable[[ClusterHost], Any]) -> Recording:
    """The host of the first region, asked by a test."""

    def ask(regions: list[Any], _: StackSettings) -> Any:
        region = regions[0]
        assert isinstance(region, K8sRegion)
        return use(region.host)

    return with_regions(case, ask)


def placement(case: Case, accelerator: str = GPU, ladder: tuple[Capacity, ...] = LADDER) -> Placement:
    """Of a pool with a ladder."""
    reservation = "cr-0123456789abcdef0" if Capacity.RESERVED in ladder else None
    found: list[Placement] = []

    def ask(host: ClusterHost) -> None:
        zone = case.zone if reservation else None
        pool = PoolSettings(
            name="big",
            accelerator=accelerator,
            max_nodes=3,
            ladder=ladder,
            reservation=reservation,
            reservation_zone=zone,
        )
        found.append(host.pool(pool))

    with_host(case, ask)
    return found[0]


def outputs_in(value: Any) -> list[Any]:
    if isinstance(value, Output):
        return [value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return outputs_in([getattr(value, field.name) for field in dataclasses.fields(value)])
    if isinstance(value, dict):
        return outputs_in([*value, *value.values()])
    return [one for item in value for one in outputs_in(item)] if isinstance(value, list | tuple) else []


def test_every_target_without_processes_of_its_own_stands_on_a_host() -> None:
    assert CLUSTERS == ["aws", "gcp"]


def test_a_host_is_a_cluster_host(case: Case) -> None:
    assert with_host(case, lambda host: isinstance(host, ClusterHost)).returned is True


def test_a_host_has_the_name_of_its_region_and_that_regions_tiers(case: Case) -> None:
    def look(regions: list[Any], _: StackSettings) -> Any:
        return [(region.host.name == region.name, region.host.tiers is region.tiers) for region in regions]

    assert with_regions(case, look).returned == [(True, True), (True, True)]


def test_the_provider_is_the_clusters_own_and_holds_no_credential(case: Case) -> None:
    seen: list[Any] = []

    def look(host: ClusterHost) -> None:
        assert isinstance(host.provider, pulumi.ProviderResource)
        seen.append(host.provider.package)

    recording = with_host(case, look)
    assert seen == ["kubernetes"]
    clusters = [made for made in recording.resources.values() if made.kind == "pulumi:providers:kubernetes"]
    assert len(clusters) == 2, "one of each region"
    for made in clusters:
        assert "kubeconfig" in made.secret_inputs
        (user,) = json.loads(made.inputs["kubeconfig"])["users"]
        assert set(user["user"]) == {"exec"}, "whoever runs it asks for a token of their own"


def test_the_callers_are_ranges(case: Case) -> None:
    callers = with_host(case, lambda host: list(host.callers)).returned
    assert callers and all(ip_network(cidr).prefixlen > 0 for cidr in callers)


def test_a_placement_is_plain(case: Case) -> None:
    assert outputs_in(placement(case)) == []


def test_a_placement_says_what_a_node_carries(case: Case) -> None:
    made = placement(case)
    row = machine(str(case.target["name"]), GPU)
    assert made.accelerators == row.count and made.resources["nvidia.com/gpu"] == row.count
    assert made.architecture == row.architecture and made.max_nodes == 3


def test_a_cpu_pool_carries_no_extended_resource(case: Case) -> None:
    made = placement(case, "cpu", (Capacity.ON_DEMAND,))
    assert made.resources == {} and made.accelerators == 0


def test_the_rungs_are_the_ladder_in_its_order(case: Case) -> None:
    assert [rung.kind for rung in placement(case).rungs] == list(LADDER)
    back = tuple(reversed(LADDER))
    assert [rung.kind for rung in placement(case, ladder=back).rungs] == list(back)


def test_a_rungs_nodes_are_told_from_all_others(case: Case) -> None:
    selectors = [rung.selector for rung in placement(case).rungs]
    for index, one in enumerate(selectors):
        assert one
        others = selectors[:index] + selectors[index + 1 :]
        assert not any(one.items() <= other.items() for other in others)


def test_only_spot_is_taken_away_with_a_notice(case: Case) -> None:
    notices = {rung.kind: rung.notice_seconds for rung in placement(case).rungs}
    assert notices[Capacity.ON_DEMAND] is None and (notices[Capacity.SPOT] or 0) >= 25


def test_the_rules_know_no_longer_notice_than_a_spot_node_gives(case: Case) -> None:
    (notice,) = (rung.notice_seconds for rung in placement(case).rungs if rung.kind is Capacity.SPOT)
    assert notice is not None and 0 < SPOT_NOTICE_SECONDS[case.target["name"]] <= notice


def test_nothing_lands_on_a_pool_of_accelerators_by_accident(case: Case) -> None:
    made = placement(case)
    assert made.node_selector and made.tolerations


def test_pods_spread_over_zones_first(case: Case) -> None:
    assert placement(case).topology_keys[0] == "topology.kubernetes.io/zone"


def granted(case: Case, access: Access) -> Recording:
    def ask(host: ClusterHost) -> Any:
        return host.access(ACCOUNT, [Grant(Output.concat(host.tiers.hot, "/models/coder"), access)]).granted

    return with_host(case, ask)


def test_a_grant_is_for_the_account_that_it_names(case: Case) -> None:
    assert granted(case, Access.READ).returned == ACCOUNT.name


def added(case: Case, access: Access) -> dict[str, Any]:
    """What a grant adds to a host without any."""
    before = with_host(case, lambda _: None).inputs()
    return {urn: inputs for urn, inputs in granted(case, access).inputs().items() if urn not in before}


def test_a_grant_names_the_folder_and_the_account_and_what_may_be_done(case: Case) -> None:
    reading, writing = added(case, Access.READ), added(case, Access.WRITE)
    for grant in (reading, writing):
        text = json.dumps(list(grant.values()))
        assert "models/coder" in text and ACCOUNT.name in text and ACCOUNT.namespace in text
    assert list(reading.values()) != list(writing.values())


def test_a_grant_of_nothing_names_no_tier(case: Case) -> None:
    def ask(host: ClusterHost) -> Any:
        return {"uri": host.tiers.hot, "granted": host.access(ACCOUNT, []).granted}

    before = with_host(case, lambda _: None).inputs()
    recording = with_host(case, ask)
    bucket = recording.returned["uri"].partition("://")[2].partition("/")[0]
    new = [inputs for urn, inputs in recording.inputs().items() if urn not in before]
    assert bucket not in json.dumps(new)
    assert bucket in json.dumps(list(added(case, Access.READ).values())), "a grant would name it"


def test_an_account_is_told_where_credentials_and_tiers_answer(case: Case) -> None:
    def ask(host: ClusterHost) -> Any:
        egress = host.access(ACCOUNT, [Grant(host.tiers.hot, Access.READ)]).egress
        return [[one.cidr, one.port] for one in egress]

    told = with_host(case, ask).returned
    assert len(told) > 1
    for cidr, port in told:
        assert 0 < port < 65536 and ip_network(cidr).prefixlen > 0
    everything = sum(ip_network(cidr).num_addresses for cidr, port in told if port == 443)
    assert everything < 2**32 and not any(
        ip_network("10.0.0.0/8").overlaps(ip_network(cidr)) for cidr, _ in told
    )


def attached(case: Case) -> Recording:
    def ask(host: ClusterHost) -> Any:
        standing = Output.from_input("gateway")
        backend = Backend("skerry", {"app": "gateway"}, 10000, standing)
        endpoint = host.attach(backend, case.settings().endpoint)
        return {"url": endpoint.url, "handle": endpoint.handle}

    return with_host(case, ask)


def test_what_is_attached_has_a_url_and_a_handle_that_is_an_object_of_json(case: Case) -> None:
    endpoint = attached(case).returned
    assert endpoint["url"].startswith(("http://", "https://"))
    assert isinstance(json.loads(endpoint["handle"]), dict)


def test_a_service_leads_to_the_pods_that_are_attached(case: Case) -> None:
    services = [made.inputs["spec"] for made in attached(case).of(":Service")]
    (spec,) = [spec for spec in services if spec.get("selector") == {"app": "gateway"}]
    assert [port["targetPort"] for port in spec["ports"]] == [10000]


def test_an_endpoint_is_not_open_to_the_world(case: Case) -> None:
    recording = attached(case)
    assert not [
        made for made in recording.of(":Service") if made.inputs["spec"].get("type") == "LoadBalancer"
    ]
    assert not [
        made for made in recording.of("lb/loadBalancer:LoadBalancer") if not made.inputs.get("internal")
    ]
