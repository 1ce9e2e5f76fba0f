"""Service accounts: whom a target's grants are for."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Input, ResourceOptions

from components.contracts import ClusterHost, Grant, ServiceAccount
from components.k8s import pods


class K8sIdentity(pulumi.ComponentResource):
    """A service account with access to some folders and to nothing else, the API server included."""

    def __init__(
        self,
        name: str,
        account: str,
        namespace: Input[str],
        host: ClusterHost,
        grants: Sequence[Grant],
        pull_secrets: Sequence[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sIdentity", name, {}, opts)
        self.account = k8s.core.v1.ServiceAccount(
            f"{name}-account",
            metadata={"name": account, "namespace": namespace},
            automount_service_account_token=False,
            image_pull_secrets=pods.named(pull_secrets),
            opts=ResourceOptions(parent=self),
        )
        self.access = host.access(ServiceAccount(pods.NAMESPACE, account), grants)
        self.name = pulumi.Output.all(self.account.id, self.access.granted).apply(lambda _: account)
        """Known when the account and its grants stand."""
        self.egress = self.access.egress
        self.register_outputs({"account": account})
