"""What every pod of a region keeps to."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.contracts import ClusterHost, Egress
from components.envoy.telemetry import STATISTICS_PORT
from components.k8s import access_check, pods
from components.k8s.pods import METRICS_PORT
from tests.recorder import Recording, Registered
from tests.unit.k8s.host import (
    CALLER,
    IDLE,
    MEMORY_MIB,
    RESOLVER,
    SCRAPERS,
    SECOND,
    SERVICE,
    STORE,
    PlainHost,
    is_check,
    main_of,
    named,
    option,
    template_of,
    whole_region,
)

RUNNING = (":Job", ":Deployment")
SCRAPING = [
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    for namespace in SCRAPERS
]


@pytest.fixture(scope="module")
def region() -> Recording:
    return whole_region((SERVICE, SECOND, IDLE))


def runners(recording: Recording) -> list[Registered]:
    found = [made for kind in RUNNING for made in recording.of(kind)]
    assert len(found) == 8 + 6, (
        "a run, its rendezvous, two versions, three services, the gateway, six access checks"
    )
    return found


def containers(recording: Recording) -> list[Any]:
    return [one for made in runners(recording) for one in template_of(made)["containers"]]


def policies(recording: Recording) -> list[Any]:
    return [made.inputs["spec"] for made in recording.of(":NetworkPolicy")]


def matching(recording: Recording, labels: dict[str, str]) -> list[Any]:
    """Policies that choose pods with these labels, the namespace's own aside."""
    chosen = [(policy, policy["podSelector"].get("matchLabels", {})) for policy in policies(recording)]
    return [policy for policy, wanted in chosen if wanted and wanted.items() <= labels.items()]


def test_a_host_that_does_only_what_the_seam_asks_is_enough(region: Recording) -> None:
    assert region.returned["url"] == "https://here.example.com"


def test_the_plain_host_is_a_cluster_host() -> None:
    wanted = {name for name in vars(ClusterHost) if not name.startswith("_")} | set(
        ClusterHost.__annotations__
    )
    assert wanted <= {*vars(PlainHost), "name", "provider", "tiers", "callers", "front", "resolvers"}


def test_every_pod_passes_the_restricted_profile(region: Recording) -> None:
    for made in runners(region):
        context = template_of(made)["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(region):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context


def test_no_container_may_write_to_its_image(region: Recording) -> None:
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in containers(region))
    for made in runners(region):
        volumes = {volume["name"]: volume for volume in template_of(made)["volumes"]}
        mounts = template_of(made)["containers"][0]["volumeMounts"]
        writable = [volumes[mount["name"]] for mount in mounts if not mount.get("readOnly")]
        assert writable and all("emptyDir" in volume for volume in writable)


def test_every_image_is_pinned_by_its_digest(region: Recording) -> None:
    assert all(
        re.fullmatch(r"[^@]+@sha256:[0-9a-f]{64}", container["image"]) for container in containers(region)
    )


def test_no_pod_is_handed_a_token_of_the_api_server(region: Recording) -> None:
    assert all(template_of(made)["automountServiceAccountToken"] is False for made in runners(region))
    assert all(made.inputs["automountServiceAccountToken"] is False for made in region.of(":ServiceAccount"))


def test_no_two_things_share_a_service_account(region: Recording) -> None:
    accounts = [template_of(made)["serviceAccountName"] for made in runners(region) if not is_check(made)]
    assert len(set(accounts)) == len(accounts)


def test_no_service_account_is_annotated(region: Recording) -> None:
    assert all("annotations" not in made.inputs["metadata"] for made in region.of(":ServiceAccount"))


def test_the_namespace_enforces_the_profile_and_carries_the_stacks_labels(region: Recording) -> None:
    (namespace,) = region.of(":Namespace")
    labels = namespace.inputs["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted" and labels["team"] == "search"


def test_nothing_reaches_or_is_reached_by_anything_that_no_policy_names(region: Recording) -> None:
    (deny,) = [
        policy for policy in policies(region) if policy["podSelector"] == {} and "egress" not in policy
    ]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_pod_may_ask_for_names_and_only_that_everywhere(region: Recording) -> None:
    (dns,) = [policy for policy in policies(region) if policy["podSelector"] == {} and "egress" in policy]
    assert dns["policyTypes"] == ["Egress"]
    (rule,) = dns["egress"]
    assert {port["port"] for port in rule["ports"]} == {53}
    kube_system = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    assert rule["to"] == [kube_system, {"ipBlock": {"cidr": RESOLVER}}]


def test_every_pod_has_a_policy_of_its_own(region: Recording) -> None:
    for made in runners(region):
        labels = made.inputs["spec"]["template"]["metadata"]["labels"]
        assert len(matching(region, labels)) == 1, labels


def test_no_policy_opens_all_addresses(region: Recording) -> None:
    for policy in policies(region):
        for rule in [*policy.get("ingress", []), *policy.get("egress", [])]:
            places = rule.get("from", rule.get("to"))
            assert places, "a rule without places means everywhere"
            assert {"ipBlock": {"cidr": "0.0.0.0/0"}} not in places


def test_only_the_load_balancer_reaches_the_gateway_and_only_the_gateway_and_scrapers_a_replica(
    region: Recording,
) -> None:
    (gateway,) = matching(region, pods.labels("gateway", "region"))
    assert gateway["ingress"] == [
        {"from": [{"ipBlock": {"cidr": CALLER}}], "ports": [{"protocol": "TCP", "port": 10000}]},
        {"from": SCRAPING, "ports": [{"protocol": "TCP", "port": STATISTICS_PORT}]},
    ]
    (replica,) = matching(region, pods.labels(pods.SERVING, "coder"))
    assert replica["ingress"] == [
        {
            "from": [{"podSelector": {"matchLabels": pods.GATEWAY}}],
            "ports": [{"protocol": "TCP", "port": pods.SERVING_PORT}],
        },
        {
            "from": SCRAPING,
            "ports": [{"protocol": "TCP", "port": METRICS_PORT}],
        },
    ]


def test_replicas_let_in_the_namespaces_that_may_scrape_and_say_where_their_metrics_are(
    region: Recording,
) -> None:
    (made,) = [one for one in runners(region) if one.inputs["metadata"]["name"] == "serve-coder"]
    metadata = made.inputs["spec"]["template"]["metadata"]
    assert metadata["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }


def test_the_port_that_scrapers_reach_is_not_the_one_that_takes_requests_and_the_server_opens_both(
    region: Recording,
) -> None:
    (made,) = [one for one in runners(region) if one.inputs["metadata"]["name"] == "serve-coder"]
    (container,) = made.inputs["spec"]["template"]["spec"]["containers"]
    command = container["command"]
    assert {port["containerPort"] for port in container["ports"]} == {pods.SERVING_PORT, METRICS_PORT}
    assert command[command.index("--port") + 1] == str(pods.SERVING_PORT)
    assert command[command.index("--metrics-port") + 1] == str(METRICS_PORT) != str(pods.SERVING_PORT)


def test_without_a_namespace_that_may_scrape_no_rule_opens_a_port() -> None:
    assert pods.scraping((), 8000) == [] and pods.scraped((), 8000, "/metrics") == {}


def test_what_reads_a_tier_may_reach_it_and_the_gateway_may_not(region: Recording) -> None:
    to_store = pods.reach([STORE])
    for policy in policies(region):
        chosen = policy["podSelector"].get("matchLabels", {})
        if chosen:
            reaches = [rule for rule in policy["egress"] if rule in to_store]
            assert bool(reaches) == (chosen["app.kubernetes.io/name"] not in ("gateway", "rendezvous"))


@pytest.mark.parametrize(
    "name", ["gateway", "dns", "default-deny", "publish-coder", "train-coder", "rendezvous-coder"]
)
def test_no_service_takes_the_name_of_anything_else(name: str) -> None:
    recording = whole_region((SERVICE.model_copy(update={"name": name}), SECOND))
    given = [
        (made.kind, made.inputs["metadata"]["name"])
        for made in recording.resources.values()
        if made.custom and "name" in made.inputs.get("metadata", {})
    ]
    assert len(set(given)) == len(given) > 10


def test_a_destination_is_named_once() -> None:
    assert len(pods.reach([STORE, STORE, Egress("203.0.113.7/32", 80)])) == 2


def test_no_pod_takes_more_memory_than_it_is_limited_to(region: Recording) -> None:
    for container in containers(region):
        assert re.fullmatch(r"[0-9]+[GM]i", container["resources"]["limits"]["memory"]), container["name"]


def test_what_a_container_requests_and_is_limited_to_are_quantities_of_kubernetes(region: Recording) -> None:
    for container in containers(region):
        for name, amounts in container["resources"].items():
            assert all(re.fullmatch(r"[0-9]+(m|[MG]i)?", amount) for amount in amounts.values()), (
                container["name"],
                name,
                amounts,
            )


def test_a_pod_on_a_pool_may_use_what_its_node_has_for_pods(region: Recording) -> None:
    placed = [made for made in runners(region) if "nodeSelector" in template_of(made)]
    limits = {template_of(made)["containers"][0]["resources"]["limits"]["memory"] for made in placed}
    assert len(placed) == 4 and limits == {f"{MEMORY_MIB}Mi"}


def test_a_pod_on_a_pool_shares_its_node_with_no_other_pod_of_ours(region: Recording) -> None:
    for made in runners(region):
        if "nodeSelector" in template_of(made):
            (term,) = template_of(made)["affinity"]["podAntiAffinity"][
                "requiredDuringSchedulingIgnoredDuringExecution"
            ]
            assert (term["namespaceSelector"], term["topologyKey"]) == ({}, "kubernetes.io/hostname")
            for other in runners(region):
                labels = other.inputs["spec"]["template"]["metadata"]["labels"]
                assert term["labelSelector"]["matchLabels"].items() <= labels.items()


def test_scrapers_reach_the_metrics_of_a_run_where_they_may_and_no_run_has_them_where_nobody_may(
    region: Recording,
) -> None:
    job = named(region, ":Job", "train-coder")
    (policy,) = matching(region, pods.labels("training", "train-coder"))
    assert {"from": SCRAPING, "ports": [{"protocol": "TCP", "port": METRICS_PORT}]} in policy["ingress"]
    command = main_of(job)["command"]
    assert option(command, "--metrics-port") == str(METRICS_PORT)
    assert option(command, "--metrics-address") == "0.0.0.0"
    annotations = job.inputs["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(METRICS_PORT)

    closed = named(whole_region(scrapers=()), ":Job", "train-coder")
    assert "--metrics-port" not in main_of(closed)["command"]
    assert "prometheus.io/port" not in closed.inputs["spec"]["template"]["metadata"]["annotations"]


def test_no_autoscaler_evicts_what_would_lose_its_work(region: Recording) -> None:
    keep = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    for made in runners(region):
        metadata = made.inputs["spec"]["template"]["metadata"]
        works = metadata["labels"]["app.kubernetes.io/name"] in (
            "training",
            "publishing",
            "rendezvous",
            access_check.COMPONENT,
        )
        assert (keep.items() <= metadata.get("annotations", {}).items()) == works
