"""What a recorded stack lets each workload do in its buckets, and the addresses that the workloads use there:

    python -m tests.declared aws|gcp

Prints JSON. The toolkit's environment records the stack; the workloads' environment runs the workloads under what is
printed, so no permission is written down twice.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.contract.programs import assembled
from tests.contract.targets import TARGETS
from tests.recorder import Recording

OPTIONS = ("--output", "--checkpoints", "--source", "--model-uri")
"""Options of the workloads whose values are addresses in tiers."""
ACCESS_SUFFIX = "-access"
"""What the components of an identity's access are called, behind the identity."""


def declared(target: str) -> dict[str, Any]:
    """Addresses and permissions of the workloads of the contract's stack on a target."""
    case = TARGETS[target]
    recording = assembled(
        case, models=case.models("coder"), services=[{"name": "coder", "model": "coder", "pool": "serve"}]
    )
    found = {"pods": list(pods(recording, case.regions)), "checks": checks(recording, case.regions)}
    return {**found, **ACCESS[target](recording)}


def pods(recording: Recording, regions: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Of each workload: the identity of its pods, its region and the addresses that its command names."""
    for kind in ("batch/v1:Job", "apps/v1:Deployment"):
        for made in recording.of(kind):
            spec = made.inputs["spec"]["template"]["spec"]
            (main,) = spec["containers"]
            words = main.get("command", [])
            uris = {option: words[words.index(option) + 1] for option in OPTIONS if option in words}
            if uris:
                (region,) = [name for name in regions if made.name.startswith(f"{name}-")]
                identity = f"{region}-{spec['serviceAccountName']}"
                yield {"identity": identity, "region": region, "uris": uris}


def checks(recording: Recording, regions: Sequence[str]) -> dict[str, list[str]]:
    """Of each identity: the words with which its access is checked before a workload starts."""
    words: dict[str, list[str]] = {}
    for made in recording.of("batch/v1:Job"):
        spec = made.inputs["spec"]["template"]["spec"]
        (main,) = spec["containers"]
        if "workloads.check_access" in main["command"]:
            (region,) = [name for name in regions if made.name.startswith(f"{name}-")]
            words[f"{region}-{spec['serviceAccountName']}"] = main["command"][3:]
    return words


def aws(recording: Recording) -> dict[str, Any]:
    """Documents of IAM: of each identity, each bucket and the keys of the buckets."""
    identities = {
        made.name.removesuffix(ACCESS_SUFFIX): json.loads(made.inputs["policy"])
        for made in recording.of("aws:iam/rolePolicy:RolePolicy")
        if made.name.endswith(ACCESS_SUFFIX)
    }
    policies = {made.inputs["bucket"]: made.inputs["policy"] for made in recording.of(":BucketPolicy")}
    buckets = {
        made.inputs["bucket"]: {
            "policy": json.loads(policies[made.inputs["bucket"]]),
            "bucket_key": made.inputs["rules"][0]["bucketKeyEnabled"],
        }
        for made in recording.of(":BucketServerSideEncryptionConfiguration")
    }
    (key_policy, *_) = {
        made.inputs["policy"] for made in recording.of("aws:kms/key:Key") if made.name.endswith("-buckets")
    }
    return {"identities": identities, "buckets": buckets, "key_policy": json.loads(key_policy)}


def gcp(recording: Recording) -> dict[str, Any]:
    """Grants of each identity: bucket, role and condition."""
    identities: dict[str, list[dict[str, str]]] = {}
    for made in recording.of(":BucketIAMMember"):
        identity, suffix, _ = made.name.rpartition(ACCESS_SUFFIX)
        if suffix:
            given = made.inputs
            grant = {"bucket": given["bucket"], "role": given["role"]}
            grant["condition"] = given["condition"]["expression"]
            identities.setdefault(identity, []).append(grant)
    return {"identities": identities, "buckets": [made.inputs["name"] for made in recording.of(":Bucket")]}


ACCESS: Mapping[str, Any] = {"aws": aws, "gcp": gcp}

if __name__ == "__main__":
    print(json.dumps(declared(sys.argv[1]), indent=1, sort_keys=True))
