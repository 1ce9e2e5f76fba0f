"""The order of every stack allows nothing that its cloud refuses, by the rules of a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cli.rehearsal.order import held
from tests.contract.clusters import STACKS, whole
from tests.contract.order import refused, state
from tests.contract.programs import unchanged
from tests.contract.targets import TARGETS
from tools.rehearsal.account import Account, Held, Rule, texts
from tools.rehearsal.rules import ORDER

EVERYTHING = [path for path in STACKS if path.stem.startswith("everything")]


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
def test_no_order_that_a_stack_allows_is_refused_by_its_cloud(path: Path) -> None:
    assert refused(whole(path)) == []


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: path.name)
def test_the_outputs_of_a_stack_are_known_when_what_takes_requests_is_there(path: Path) -> None:
    recording = whole(path)
    fronts = [*recording.of(":EndpointGroup"), *recording.of(":GlobalForwardingRule")]
    assert fronts
    assert [made.urn for made in fronts if made.urn not in recording.returned_after] == []


@pytest.mark.parametrize("rule", ORDER, ids=lambda rule: rule.name)
def test_a_rule_of_order_refuses_a_resource_before_what_it_needs_and_takes_it_after(rule: Rule) -> None:
    refusals = 0
    for path in EVERYTHING:
        known = held(state(whole(path)))
        for item in known.values():
            if rule.verdict(Account(known, known), item) is None:
                continue
            assert rule.verdict(Account(known, known), item) == ""
            alone = replace(item, before=frozenset())
            assert rule.verdict(Account({item.urn: item}, known), alone)
            refusals += 1
    assert refusals


@pytest.mark.parametrize("name", TARGETS, ids=lambda name: f"everything-{name}")
def test_a_service_is_changed_in_one_region_after_the_other(name: str) -> None:
    case = TARGETS[name]
    recording = unchanged(case)
    resources = held(state(recording))
    replicas = {
        place: resources[made.urn]
        for made in recording.of(case.replicas)
        for place in case.served_by(made.inputs)
    }
    first, second, _ = case.regions
    for service in ("coder", "assistant"):
        assert replicas[first, service].urn in replicas[second, service].before


@pytest.mark.parametrize("item", [pytest.param(None, id="everything-local")])
def test_on_this_machine_a_process_starts_after_the_files_and_the_processes_that_it_uses(item: None) -> None:
    resources = held(state(unchanged(TARGETS["local"])))
    needs = [(one, other) for one in resources.values() for other in _used(resources, one)]
    assert {one.kind for one, _ in needs} == {"File", "ProcessSet", "Task"}
    assert [(one.name, other.name) for one, other in needs if other.urn not in one.before] == []


def _used(resources: Mapping[str, Held], item: Held) -> Iterator[Held]:
    """Files and folders that an item names, the clusters of a listener (Envoy's documentation, xDS protocol, Eventual
    consistency considerations: clusters first; unresolved: from memory), and the processes behind a cluster."""
    words = " ".join(texts(item.inputs))
    path = str(item.at("path"))
    for other in resources.values():
        place = str(other.at("path"))
        folder = place.removesuffix("tier.json")
        used = {
            "File": place in words
            or (folder != place and folder in words)
            or (path.endswith("/listeners.json") and place == path.replace("listeners", "clusters")),
            "ProcessSet": path.endswith("/clusters.json")
            and (
                str(other.at("balancer.file")) in words
                or f'"port_value": {int(other.inputs.get("port") or 0)}' in words
            ),
        }
        if other.urn != item.urn and used.get(other.kind):
            yield other
