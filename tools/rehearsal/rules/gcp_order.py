"""What must exist before a resource of Google Cloud, or before a pod in its clusters."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from tools.rehearsal.account import ALLOWED, Account, Held, Rule, Verdict, texts
from tools.rehearsal.kubernetes import NEG
from tools.rehearsal.rules import gcp
from tools.rehearsal.rules.kubernetes import namespace, pod
from tools.rehearsal.rules.kubernetes_order import SERVICE, nodes, workloads
from tools.rehearsal.rules.needs import need

BACKEND, FIREWALL = "gcp:compute/backendService:BackendService", "gcp:compute/firewall:Firewall"
MEMBER, BUCKET_MEMBER = "gcp:projects/iAMMember:IAMMember", "gcp:storage/bucketIAMMember:BucketIAMMember"


def roles(account: Account, held: Held) -> Iterator[Held]:
    """The roles of the nodes' account."""
    email = held.at("nodeConfig.serviceAccount") if held.type in (gcp.CLUSTER, gcp.POOL) else None
    return (grant for grant in account.declared(MEMBER) if grant.at("member") == f"serviceAccount:{email}")


def ways(account: Account, held: Held) -> Iterator[Held]:
    """What leads out of a cluster's network: its NAT, and the names of Google's APIs."""
    wanted = held.at("subnetwork") if held.type == gcp.CLUSTER else None
    networks = {
        subnet.at("network")
        for subnet in account.declared("gcp:compute/subnetwork:Subnetwork")
        if subnet.id == wanted
    }
    routers = [one for one in account.declared("gcp:compute/router:Router") if one.at("network") in networks]
    zones = [
        one
        for one in account.declared("gcp:dns/managedZone:ManagedZone")
        if networks & set(texts(one.inputs))
    ]
    for nat in account.declared("gcp:compute/routerNat:RouterNat"):
        if nat.at("router") in {router.at("name") for router in routers}:
            yield nat
    for record in account.declared("gcp:dns/recordSet:RecordSet"):
        if record.at("managedZone") in {zone.at("name") for zone in zones}:
            yield record


def answers(account: Account, backend: Held) -> Iterator[Held]:
    """All that makes the endpoint groups of a backend answer; GKE makes the groups of a Service with the Service."""
    if backend.type != BACKEND:
        return
    groups = {text.rpartition("/")[2] for text in texts(backend.inputs) if "/networkEndpointGroups/" in text}
    for service in account.declared(SERVICE):
        asked = json.loads((service.at("metadata.annotations") or {}).get(NEG, "{}"))
        if groups & set(texts(asked)):
            yield service
            yield from workloads(account, service)
            accounts = {pool.at("nodeConfig.serviceAccount") for pool in nodes(account, service)}
            for firewall in account.declared(FIREWALL):
                if accounts & set(firewall.at("targetServiceAccounts") or []):
                    yield firewall


def pod_has_its_grants(account: Account, held: Held) -> Verdict:
    """Clusters of a project share their identities: one region's grants, all of them, come before the pod."""
    spec = pod(held) if held.type.startswith("kubernetes:") else None
    subject = f"/subject/ns/{namespace(held)}/sa/{(spec or {}).get('serviceAccountName')}"
    regions: dict[str, list[Held]] = defaultdict(list)
    for grant in account.declared(BUCKET_MEMBER):
        if spec and str(grant.at("member")).endswith(subject):
            regions[grant.name.rpartition("-")[0]].append(grant)
    if not regions:
        return None
    if any(not any(map(account.lacks, grants)) for grants in regions.values()):
        return ALLOWED
    return f"storage.objects.get denied in {held.name}: no region's grants exist yet"


RULES = (
    need(
        "gcp-nodes-have-their-roles",
        "GKE documentation, Configure GKE node service accounts; read 2026-11-24 for components/gcp/nodes.py",
        roles,
        "the node's service account lacks a role",
    ),
    need(
        "gcp-nodes-have-a-way-out",
        "GKE documentation, Troubleshoot node registration; unresolved: from memory",
        ways,
        "all cluster resources were brought up, but the nodes did not register",
    ),
    need(
        "gcp-endpoint-answers",
        "the endpoint groups of a Service are made by GKE with it; Cloud Load Balancing answers 404 for others: GKE "
        "documentation, Standalone zonal NEGs; unresolved: from memory",
        answers,
        "the endpoint groups are not there, or nothing answers in them",
    ),
    Rule(
        "gcp-pod-has-its-grants",
        "create",
        "IAM answers 403 to an identity without a grant: IAM, Access change propagation; read 2026-12-01",
        pod_has_its_grants,
    ),
)
