"""What every cloud refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools.rehearsal.account import ALLOWED, Account, Held, Identity, Rule, Verdict, texts
from tools.rehearsal.rules import aws, gcp, kubernetes

NAMES: Mapping[str, Callable[[Held], Identity | None]] = {
    "aws": aws.identity,
    "gcp": gcp.identity,
    "kubernetes": kubernetes.identity,
}
"""Package -> what makes a resource unique; None where the provider makes a name up, or a second one is no mistake."""
CONFLICTS = {
    "aws": "ResourceAlreadyExistsException: {kind} {name} already exists",
    "gcp": "googleapi: Error 409: {kind} {name} already exists, alreadyExists",
    "kubernetes": '{kind} "{name}" already exists',
}


def package(held: Held) -> str:
    return held.type.partition(":")[0]


def name_exists(account: Account, held: Held) -> Verdict:
    """A second resource of one name: of another resource of the stacks, or one that a service made or kept."""
    made = NAMES.get(package(held), lambda _: None)(held)
    if made is None:
        return None
    taken = {NAMES[package(held)](other) for other in account.of(held.type)}
    if made in taken or made in account.kept:
        return CONFLICTS[package(held)].format(kind=held.kind, name="/".join(made[2:]))
    return ALLOWED


def names_what_exists(account: Account, held: Held) -> Verdict:
    """A resource that names another one by its id or ARN, which the account does not hold (any more, or yet). Objects
    of Kubernetes may come before what they name."""
    if package(held) == "kubernetes":
        return None
    named = set(texts(held.inputs))
    others = [
        other
        for other in account.known.values()
        if other.urn != held.urn and package(other) == package(held) and other.handles & named
    ]
    if not others:
        return None
    for other in others:
        if account.lacks(other):
            return f"InvalidParameterValue: {other.kind} {other.id} ({other.name}) does not exist"
    return ALLOWED


RULES = (
    Rule(
        "name-exists",
        "create",
        "EKS makes the log group of a cluster anew after its deletion: terraform-aws-modules/terraform-aws-eks#2486; "
        "Google never deletes the name of a key or key ring: docstring of KeyRing in pulumi-gcp 10.2.0; EC2's error "
        "codes InvalidPermission.Duplicate, RouteAlreadyExists; read 2026-12-01",
        name_exists,
    ),
    Rule(
        "names-what-exists",
        "create",
        "EC2's error codes Invalid*.NotFound and the 404 of Google's APIs; read 2026-12-01",
        names_what_exists,
    ),
)
