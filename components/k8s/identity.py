"""Service accounts: whom a target's grants are for."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Input, ResourceOptions

from components.contracts import ClusterHost, Grant, ServiceAccount
from components.k8s import pods
from components.k8s.access_check import K8sAccessCheck


class K8sIdentity(pulumi.ComponentResource):
    """A service account with access to some folders and to nothing else, the API server included."""

    def __init__(
        self,
        name: str,
        account: str,
        namespace: Input[str],
        host: ClusterHost,
        grants: Sequence[Grant],
        image: str,
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
        """Known when the account and its grants exist."""
        self.egress = self.access.egress
        self.check = K8sAccessCheck(
            f"{name}-check",
            account,
            namespace=namespace,
            image=image,
            granted=self.name,
            grants=grants,
            egress=self.egress,
            opts=ResourceOptions(parent=self),
        )
        self.effective: list[pulumi.Resource] = [self.check.job]
        """What pods of the account come after: by then the grants were seen to be effective."""
        self.register_outputs({"account": account})
