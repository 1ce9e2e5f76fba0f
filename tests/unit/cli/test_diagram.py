"""The picture of a stack."""

from __future__ import annotations

import random
from typing import Any

from cli.diagram import mermaid

PREFIX = "urn:pulumi:s::skerry::"


def entry(
    kind: str, name: str, parent: str = "", uses: tuple[str, ...] = (), **outputs: Any
) -> dict[str, Any]:
    return {
        "urn": f"{PREFIX}{kind}::{name}",
        "parent": parent and PREFIX + parent,
        "dependencies": [PREFIX + used for used in uses],
        "outputs": outputs,
    }


STATE = [
    entry("skerry:index:LocalRegion", "east"),
    entry("skerry:index:LocalModelVersion", "coder", "skerry:index:LocalRegion::east"),
    entry("x:index:Task", "publish", "skerry:index:LocalModelVersion::coder"),
    entry(
        "skerry:index:LocalInferenceService",
        "east-coder",
        "skerry:index:LocalRegion::east",
    ),
    entry(
        "x:index:ProcessSet",
        "replicas",
        "skerry:index:LocalInferenceService::east-coder",
        ("x:index:Task::publish",),
        running={"coder-0": "r", "coder-1": "r"},
    ),
    entry("skerry:index:LocalGlobalLoadBalancer", "global"),
    entry(
        "skerry:index:LocalEnvoy",
        "global",
        "skerry:index:LocalGlobalLoadBalancer::global",
    ),
    entry(
        "x:index:File",
        "clusters",
        "skerry:index:LocalEnvoy::global",
        ("x:index:ProcessSet::replicas", "x:index:Task::publish"),
    ),
]


def test_the_same_state_in_any_order_gives_the_same_text() -> None:
    shuffled = STATE[:]
    random.Random(1).shuffle(shuffled)
    assert mermaid(shuffled) == mermaid(STATE)


def test_components_of_a_region_stand_in_its_box_with_what_runs() -> None:
    text = mermaid(STATE)
    box = text[text.index("subgraph") : text.index("    end")]
    assert "east-coder<br/><small>LocalInferenceService</small><br/>2 running" in box
    assert "LocalGlobalLoadBalancer" not in box


def test_an_arrow_says_uses_and_one_that_follows_from_others_is_left_out() -> None:
    text = mermaid(STATE)
    node = {
        line.split('"')[1].split("<")[0]: line.split("[")[0].strip()
        for line in text.splitlines()
        if "<small>" in line
    }
    assert f"{node['global']} --> {node['east-coder']}" in text
    assert f"{node['east-coder']} --> {node['coder']}" in text
    assert f"{node['global']} --> {node['coder']}" not in text
    assert f"client --> {node['global']}" in text


def test_regions_that_roll_one_after_the_other_do_not_use_each_other() -> None:
    later = entry("skerry:index:LocalInferenceService", "west-coder")
    replicas = entry(
        "x:index:ProcessSet",
        "west-replicas",
        "skerry:index:LocalInferenceService::west-coder",
        ("x:index:ProcessSet::replicas",),
    )
    text = mermaid([*STATE, later, replicas])
    node = {
        line.split('"')[1].split("<")[0]: line.split("[")[0].strip()
        for line in text.splitlines()
        if "<small>" in line
    }
    assert f"{node['west-coder']} --> {node['east-coder']}" not in text


def test_parts_of_a_component_are_not_drawn() -> None:
    assert "LocalEnvoy" not in mermaid(STATE)
