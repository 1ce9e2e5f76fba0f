"""The stand-in for `gcp`. Values are made up: a project called `rehearsal`, addresses of the documentation's ranges."""

from __future__ import annotations

import base64
import re

from components.local.provider.values import Properties
from tools.rehearsal.package import Package, Resource, Row

PROJECT = "rehearsal"
NUMBER = "111122223333"
STORAGE_AGENT = f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
DOMAIN = "example.com"
CERTIFICATE = base64.b64encode(b"the certificate authority of a rehearsal").decode()
PLACES = {"zone": "zones", "region": "regions", "location": "locations"}
"""Inputs that say where a resource lies, and how they stand in its id."""


def project(inputs: Properties, config: Properties) -> str:
    return inputs.get("project") or config.get("project") or PROJECT


def name(resource: Resource) -> str:
    return resource.inputs.get("name") or resource.autoname


def owner(resource: Resource) -> str:
    return f"projects/{project(resource.inputs, resource.config)}"


def path(resource: Resource) -> str:
    """Project and place, as they begin an id."""
    for field, word in PLACES.items():
        if place := resource.inputs.get(field):
            return f"{owner(resource)}/{word}/{place}"
    return f"{owner(resource)}/global"


def collection(kind: str) -> str:
    """The word before a name in an id: sslPolicies for SSLPolicy."""
    kind = kind.removeprefix("Global").removeprefix("Managed")
    first = re.match("[A-Z]+(?=[A-Z][a-z])|[A-Z]+", kind)
    word = kind if first is None else first.group().lower() + kind[first.end() :]
    return re.sub("y$", "ie", word) + ("es" if word.endswith("s") else "s")


def default(resource: Resource) -> Properties:
    """An id, a name and a self-link, which most types have."""
    identity = resource.id or f"{path(resource)}/{collection(resource.kind)}/{name(resource)}"
    return {
        "id": identity,
        "name": name(resource),
        "project": project(resource.inputs, resource.config),
        "selfLink": f"https://{resource.module}.googleapis.{DOMAIN}/v1/{identity}",
    }


def address(resource: Resource) -> Properties:
    return {"address": f"203.0.113.{resource.number}"}


def account(resource: Resource) -> Properties:
    host = f"{project(resource.inputs, resource.config)}.iam.gserviceaccount.com"
    email = f"{resource.inputs.get('accountId') or resource.autoname}@{host}"
    identity = resource.id or f"{owner(resource)}/serviceAccounts/{email}"
    return {"id": identity, "name": identity, "email": email, "member": f"serviceAccount:{email}"}


def cluster(resource: Resource) -> Properties:
    return {
        "endpoint": f"203.0.113.{resource.number}",
        "masterAuth": {"clusterCaCertificate": CERTIFICATE, "clientCertificate": "", "clientKey": ""},
        "masterVersion": resource.inputs.get("minMasterVersion", ""),
        "controlPlaneEndpointsConfig": {
            "dnsEndpointConfig": {"endpoint": f"gke-{resource.hex[:32]}.gke.{DOMAIN}"}
        },
    }


def node_pool(resource: Resource) -> Properties:
    """Its cluster may be given by name or by id."""
    whole = str(resource.inputs.get("cluster"))
    location = resource.inputs.get("location") or whole.partition("/locations/")[2].partition("/")[0]
    cluster = whole if "/" in whole else f"{owner(resource)}/locations/{location}/clusters/{whole}"
    zones = resource.inputs.get("nodeLocations") or [f"{location}-a"]
    groups = [
        f"https://compute.googleapis.{DOMAIN}/v1/{owner(resource)}/zones/{zone}/instanceGroups/{name(resource)}"
        for zone in zones
    ]
    return {
        "id": resource.id or f"{cluster}/nodePools/{name(resource)}",
        "instanceGroupUrls": groups,
        "managedInstanceGroupUrls": groups,
    }


def crypto_key(resource: Resource) -> Properties:
    return {"id": resource.id or f"{resource.inputs.get('keyRing')}/cryptoKeys/{name(resource)}"}


def bucket(resource: Resource) -> Properties:
    called = resource.id or name(resource)
    return {"id": called, "url": f"gs://{called}"}


ROWS: dict[str, Row] = {
    "gcp:compute/address:Address": address,
    "gcp:compute/globalAddress:GlobalAddress": address,
    "gcp:container/cluster:Cluster": cluster,
    "gcp:container/nodePool:NodePool": node_pool,
    "gcp:kms/cryptoKey:CryptoKey": crypto_key,
    "gcp:serviceaccount/account:Account": account,
    "gcp:storage/bucket:Bucket": bucket,
}

INVOKES = {
    "gcp:organizations/getProject:getProject": lambda args, config: {
        "projectId": args.get("projectId") or project(args, config),
        "number": NUMBER,
        "id": f"projects/{args.get('projectId') or project(args, config)}",
    },
    "gcp:organizations/getClientConfig:getClientConfig": lambda args, config: {
        "project": project(args, config),
        "region": config.get("region", ""),
        "zone": config.get("zone", ""),
        "accessToken": "a-token-of-a-rehearsal",
        "id": project(args, config),
    },
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": lambda args, config: {
        "emailAddress": STORAGE_AGENT,
        "member": f"serviceAccount:{STORAGE_AGENT}",
        "project": project(args, config),
        "id": STORAGE_AGENT,
    },
    "gcp:compute/getZones:getZones": lambda args, config: {
        "names": [f"{args.get('region') or config.get('region')}-{letter}" for letter in "abc"],
        "project": project(args, config),
        "id": f"projects/{project(args, config)}",
    },
}

PACKAGE = Package("gcp", "tools/rehearsal/gcp.py", default, ROWS, INVOKES)
