"""The stand-ins' tables, and how an answer is made of what was declared and what a cloud would add."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from pulumi.runtime.proto import provider_pb2

from components.local.provider.values import UNKNOWN, to_struct
from tools.rehearsal import aws, gcp, kubernetes
from tools.rehearsal.ledger import Ledger
from tools.rehearsal.package import Package, Resource, changed, fill, unknown
from tools.rehearsal.server import StandIn

PACKAGES = {package.name: package for package in (aws.PACKAGE, gcp.PACKAGE, kubernetes.PACKAGE)}
ROWS = [token for package in PACKAGES.values() for token in package.rows]
INVOKES = [token for package in PACKAGES.values() for token in package.invokes]


def sdk_file(token: str) -> str:
    """Source of the SDK's class or function for a token such as aws:ec2/vpc:Vpc."""
    package, module, kind = token.split(":")
    found = importlib.util.find_spec(f"pulumi_{package}")
    assert found and found.submodule_search_locations
    if package == "kubernetes":
        path = Path(module.replace(".sh", "")) / kind
    else:
        folder, name = module.split("/")
        path = Path(folder.replace("index", "")) / re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
    return (Path(found.submodule_search_locations[0]) / f"{path}.py").read_text()


def resource(token: str, **inputs: object) -> Resource:
    return Resource(
        f"urn:pulumi:dev::skerry::skerry:index:Parent${token}::it", inputs, {"region": "eu-west-1"}
    )


def package_of(token: str) -> Package:
    return PACKAGES[token.partition(":")[0]]


@pytest.mark.parametrize("token", [*ROWS, *INVOKES])
def test_a_row_stands_for_something_that_the_sdk_asks_for(token: str) -> None:
    assert f"'{token}'" in sdk_file(token)


@pytest.mark.parametrize("token", ROWS)
def test_a_row_gives_no_output_that_its_type_lacks(token: str) -> None:
    source = sdk_file(token)
    for name in package_of(token).rows[token](resource(token)).keys() - {"id"}:
        assert f'@pulumi.getter(name="{name}")' in source or f"def {name}(self)" in source, name


@pytest.mark.parametrize("token", ROWS)
def test_an_id_is_a_text_and_the_same_whenever_it_is_asked_for(token: str) -> None:
    first, again = (package_of(token).computed(resource(token))["id"] for _ in range(2))
    assert first == again and isinstance(first, str) and first


@pytest.mark.parametrize("token", [token for token in ROWS if not token.startswith("kubernetes:")])
def test_an_adopted_resource_keeps_the_id_that_it_was_adopted_by(token: str) -> None:
    adopted = Resource(resource(token).urn, {}, {}, id="given")
    assert package_of(token).computed(adopted)["id"] == "given"


def test_what_was_declared_is_completed_and_never_overridden() -> None:
    declared = {"name": "mine", "vpcConfig": {"subnetIds": ["a"]}, "ports": [{"port": 80}], "list": [1]}
    added = {
        "name": "x",
        "vpcConfig": {"vpcId": "v"},
        "ports": [{"nodePort": 30000}],
        "list": [2, 3],
        "arn": "a",
    }
    assert fill(declared, added) == {
        "name": "mine",
        "vpcConfig": {"subnetIds": ["a"], "vpcId": "v"},
        "ports": [{"port": 80, "nodePort": 30000}],
        "list": [1],
        "arn": "a",
    }


def test_before_up_each_value_that_a_cloud_adds_is_unknown_in_its_place() -> None:
    assert unknown({"a": 1, "b": {"c": [1, {"d": 2}]}}) == {
        "a": UNKNOWN,
        "b": {"c": [UNKNOWN, {"d": UNKNOWN}]},
    }


def test_a_change_deep_inside_a_value_or_one_still_unknown_is_seen() -> None:
    old = {"same": [1, {"a": 2}], "deep": {"a": {"b": 1}}, "wired": "v", "gone": 1}
    new = {"same": [1, {"a": 2}], "deep": {"a": {"b": 2}}, "wired": UNKNOWN, "more": 1}
    assert changed(old, new) == ["deep", "gone", "more", "wired"]


def test_an_arn_lies_in_the_region_of_its_provider_unless_the_resource_has_its_own() -> None:
    token = "aws:lb/targetGroup:TargetGroup"
    assert ":eu-west-1:" in aws.PACKAGE.computed(resource(token))["arn"]
    assert ":us-west-2:" in aws.PACKAGE.computed(resource(token, region="us-west-2"))["arn"]


def test_an_object_without_a_name_gets_one_before_it_is_applied() -> None:
    bare = kubernetes.PACKAGE.complete(resource("kubernetes:core/v1:ConfigMap", data={}))
    assert re.fullmatch("it-[0-9a-f]{7}", bare["metadata"]["name"]) and bare["data"] == {}
    named = {"metadata": {"name": "mine"}}
    assert kubernetes.PACKAGE.complete(resource("kubernetes:core/v1:ConfigMap", **named)) == named


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("Network", "networks"),
        ("SSLPolicy", "sslPolicies"),
        ("URLMap", "urlMaps"),
        ("GlobalAddress", "addresses"),
        ("TargetHttpsProxy", "targetHttpsProxies"),
        ("ManagedSslCertificate", "sslCertificates"),
    ],
)
def test_an_id_of_google_cloud_holds_the_collections_own_word(kind: str, word: str) -> None:
    identity = gcp.PACKAGE.computed(resource(f"gcp:compute/any:{kind}", project="p"))["id"]
    assert identity.startswith(f"projects/p/global/{word}/it-")


SECRET_KEY, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
"""Mark of a secret on the wire (pulumi/pulumi, sdk/go/common/resource/sig, read 2026-12-01)."""


class Connection:
    """What a stand-in sees of the engine's connection."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


def test_a_cluster_is_known_by_its_kubeconfig_and_not_by_how_the_engine_marks_it_as_secret(
    tmp_path: Path,
) -> None:
    """The two keys of a mark come in any order, so the namespace of an earlier `up` was in another cluster at times."""
    arguments = to_struct({"kubeconfig": {SECRET_KEY: SECRET, "value": "of the cluster"}})
    stand_in = StandIn(kubernetes.PACKAGE, Ledger(tmp_path))
    stand_in.Configure(provider_pb2.ConfigureRequest(args=arguments), Connection())
    assert stand_in.configs == {Connection().peer(): {"kubeconfig": "of the cluster"}}
