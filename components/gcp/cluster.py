"""GKE in one region: private, hardened, with a small pool of its own for what runs beside the workloads."""

from __future__ import annotations

import json
from typing import Any, TypedDict, cast

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
from pulumi import Input, Output, ResourceOptions
from pulumi_gcp.container import ClusterMaintenancePolicyRecurringWindowArgsDict

from components.gcp.network import PODS, SERVICES
from components.gcp.nodes import DISCARDED_DISK, LONGEST_POOL_NAME, SYSTEM_DISK, NodeSetup, node_config
from components.gcp.ranges import SYSTEM_NODES_PER_ZONE
from components.gcp.versions import CHANNEL, MINIMUM
from components.naming import physical_name

SYSTEM_MACHINE, SYSTEM_CPUS = "e2-standard-4", 4
"""4 vCPUs and 16 GiB: Google's agents take about one vCPU of a node, gateways and controllers the rest."""
LOGS = ("SYSTEM_COMPONENTS", "WORKLOADS", "APISERVER")
METRICS = ("SYSTEM_COMPONENTS", "APISERVER", "POD", "DEPLOYMENT", "HPA", "DCGM")
"""Names of components.loggingConfig and monitoringConfig in the discovery document of container v1; DCGM are GPUs."""
MAINTENANCE: ClusterMaintenancePolicyRecurringWindowArgsDict = {
    "start_time": "2026-01-03T02:00:00Z",
    "end_time": "2026-01-03T08:00:00Z",
    "recurrence": "FREQ=WEEKLY;BYDAY=SA,SU",
}
"""12 hours a week, hence 48 or more in any 32 days. Source: google/skills at 1af77752, skills/cloud/gke-upgrades, wants
48 hours in any 92 days; older public quotations of Google's text say 32 days, in blocks of 4 hours and more, read
2026-11-24. Google's page itself was not opened."""


class GcpClusterArgs(TypedDict):
    """Args of `GcpCluster`."""

    project: str
    """Id of the project."""
    region: str
    """The control plane has a replica in several of its zones."""
    zones: tuple[str, ...]
    """Zones of the nodes."""
    network: Input[str]
    """Id of the VPC."""
    subnet: Input[str]
    """Id of its subnet."""
    secrets_key: Input[str]
    """Key that encrypts secrets in etcd."""
    nodes: NodeSetup
    """What every node gets."""


class GcpCluster(pulumi.ComponentResource):
    """The control plane has no address at all, neither public nor private: it is reached by its DNS name, where Google
    asks IAM (`container.clusters.connect`) before a request comes near the API server. `up` therefore runs from
    anywhere as whoever may, also when it makes the network itself; docs/decisions/0009-gcp.md has the alternatives and
    the sources.
    """

    def __init__(self, name: str, args: GcpClusterArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:GcpCluster", name, {}, opts)
        discarded = node_config(SYSTEM_MACHINE, DISCARDED_DISK, args["nodes"], {})
        self.cluster = gcp.container.Cluster(
            name,
            location=args["region"],
            node_locations=list(args["zones"]),
            deletion_protection=False,  # it holds nothing that cannot be made again; what is kept lies in buckets
            network=args["network"],
            subnetwork=args["subnet"],
            ip_allocation_policy={
                "cluster_secondary_range_name": PODS,
                "services_secondary_range_name": SERVICES,
            },
            datapath_provider="ADVANCED_DATAPATH",
            private_cluster_config={"enable_private_nodes": True},
            control_plane_endpoints_config={
                "dns_endpoint_config": {"allow_external_traffic": True},
                "ip_endpoints_config": {"enabled": False},
            },
            workload_identity_config={"workload_pool": f"{args['project']}.svc.id.goog"},
            database_encryption={"state": "ENCRYPTED", "key_name": args["secrets_key"]},
            enable_shielded_nodes=True,
            enable_legacy_abac=False,
            master_auth={"client_certificate_config": {"issue_client_certificate": False}},
            anonymous_authentication_config={"mode": "LIMITED"},
            rbac_binding_config={
                "enable_insecure_binding_system_authenticated": False,
                "enable_insecure_binding_system_unauthenticated": False,
            },
            security_posture_config={"mode": "BASIC"},
            release_channel={"channel": CHANNEL},
            min_master_version=MINIMUM,
            maintenance_policy={"recurring_window": MAINTENANCE},
            logging_config={"enable_components": list(LOGS)},
            monitoring_config={"enable_components": list(METRICS), "managed_prometheus": {"enabled": True}},
            cost_management_config={"enabled": True},
            addons_config={
                "http_load_balancing": {
                    "disabled": False
                },  # makes the endpoint groups of the region's endpoint
                "dns_cache_config": {"enabled": False},  # network policies allow the cluster's own DNS pods
            },
            initial_node_count=1,
            remove_default_node_pool=True,
            # The pool that is removed at once would otherwise run as the project's almighty default account.
            node_config=cast(Any, discarded),
            opts=ResourceOptions(parent=self, ignore_changes=["nodeConfig", "initialNodeCount"]),
        )
        self.identity_pool = self.cluster.workload_identity_config.apply(_pool)
        """Name of the project's workload identity pool, which exists when the cluster does."""
        self.system = gcp.container.NodePool(
            physical_name(name, "system", limit=LONGEST_POOL_NAME),
            cluster=self.cluster.id,
            node_locations=list(args["zones"]),
            initial_node_count=1,
            # At least one in each zone: GKE makes the endpoint groups of a zone only where a node is.
            autoscaling={"min_node_count": 1, "max_node_count": SYSTEM_NODES_PER_ZONE},
            management={"auto_repair": True, "auto_upgrade": True},
            upgrade_settings={"max_surge": 1, "max_unavailable": 0},
            node_config=node_config(SYSTEM_MACHINE, SYSTEM_DISK, args["nodes"], {}),
            # A resize by hand or by the autoscaler changes the number, and another number replaces the pool.
            opts=ResourceOptions(parent=self, ignore_changes=["initialNodeCount"]),
        )
        self.kubeconfig = Output.secret(
            self.cluster.control_plane_endpoints_config.dns_endpoint_config.endpoint.apply(kubeconfig)
        )
        self.provider = kubernetes.Provider(
            name,
            kubeconfig=self.kubeconfig,
            # Pods need a node: whatever is made in the cluster waits for the first ones.
            opts=ResourceOptions(parent=self, depends_on=[self.system]),
        )
        self.register_outputs({"name": self.cluster.name, "kubeconfig": self.kubeconfig})


def _pool(found: gcp.container.outputs.ClusterWorkloadIdentityConfig | None) -> str:
    return (found.workload_pool or "") if found else ""


def kubeconfig(endpoint: str) -> str:
    """A kubeconfig for the DNS name of a control plane. It holds no credential: Google's plugin fetches one for
    whoever runs `up`. The name has a certificate that systems trust, so there is no authority in it."""
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "gke-gcloud-auth-plugin",
        "installHint": "gcloud components install gke-gcloud-auth-plugin",
        "provideClusterInfo": True,
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "gke",
            "contexts": [{"name": "gke", "context": {"cluster": "gke", "user": "gke"}}],
            "clusters": [{"name": "gke", "cluster": {"server": f"https://{endpoint}"}}],
            "users": [{"name": "gke", "user": {"exec": plugin}}],
        },
        sort_keys=True,
    )
