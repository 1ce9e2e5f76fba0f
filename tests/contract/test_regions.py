"""What every target's regions keep to."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from fsspec import available_protocols
from fsspec.core import split_protocol

from components.assembly import TARGETS as BUILDERS
from components.contracts import CapacityError, Region
from components.settings.items import ServiceSettings, TrainingSettings
from components.settings.model import StackSettings
from tests.contract.programs import regions_of, with_regions
from tests.contract.targets import POOLS, TARGETS, Case, Served

TIERS = ("hot", "warm", "cold")


@cache
def tiers_of(case: Case) -> list[dict[str, str]]:
    """URI by tier of each region."""

    def uris(regions: list[Region], settings: StackSettings) -> Any:
        return [{tier: getattr(region.tiers, tier) for tier in TIERS} for region in regions]

    return with_regions(case, uris).returned


def lies_in(uri: str, folder: str) -> bool:
    return uri.startswith(folder.rstrip("/") + "/")


def test_every_target_that_can_be_built_is_held_to_the_contract() -> None:
    assert set(TARGETS) == set(BUILDERS)


def test_a_region_is_a_region(case: Case) -> None:
    seen = with_regions(case, lambda regions, _: [isinstance(region, Region) for region in regions])
    assert seen.returned == [True, True]


def test_a_region_has_the_name_of_its_settings(case: Case) -> None:
    names = with_regions(case, lambda regions, _: [region.name for region in regions]).returned
    assert tuple(names) == case.regions[:2]


def test_tiers_are_places_that_fsspec_can_parse(case: Case) -> None:
    for tiers in tiers_of(case):
        for uri in tiers.values():
            protocol, path = split_protocol(uri)
            assert protocol in available_protocols()
            assert path.strip("/")


def test_no_two_tiers_are_one_place(case: Case) -> None:
    uris = [uri for tiers in tiers_of(case) for uri in tiers.values()]
    assert len(set(uris)) == len(uris) == 6


def too_many_workers(region: Region, settings: StackSettings) -> None:
    region.train(TrainingSettings(name="big", region=region.name, pool="train", workers=3, steps=1))


def too_many_replicas(region: Region, settings: StackSettings) -> None:
    version = region.publish(settings.models[1], None)
    region.serve(ServiceSettings(name="first", model="assistant", pool="serve", replicas=3), version)
    region.serve(ServiceSettings(name="second", model="assistant", pool="serve", replicas=2), version)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (too_many_workers, ("'big'", "asks for 3", "'train'", "2 of 2 left")),
        (too_many_replicas, ("'second'", "asks for 2", "'serve'", "1 of 4 left")),
    ],
)
def test_a_pool_refuses_more_than_it_has_left(
    case: Case, ask: Callable[[Region, StackSettings], None], words: tuple[str, ...]
) -> None:
    with pytest.raises(CapacityError) as caught:
        with_regions(case, lambda regions, settings: ask(regions[0], settings))
    assert all(word in str(caught.value) for word in words)
    assert "Raise the pool's max_nodes" in str(caught.value)


def test_a_pool_of_one_region_is_not_used_up_by_another(case: Case) -> None:
    def fill(regions: list[Region], settings: StackSettings) -> Any:
        runs = [
            TrainingSettings(name=f"run-{region.name}", region=region.name, pool="train", workers=2, steps=1)
            for region in regions
        ]
        return [region.train(run).name for region, run in zip(regions, runs, strict=True)]

    assert POOLS["train"] == 2
    assert with_regions(case, fill).returned == [f"run-{name}" for name in case.regions[:2]]


def test_a_runs_export_lies_in_the_warm_tier_of_its_region(case: Case) -> None:
    _, west = tiers_of(case)
    uri = regions_of(case, lambda regions, _: regions.runs["coder"].uri).returned
    assert lies_in(uri, west["warm"])


def test_a_run_has_a_digest_and_a_record(case: Case) -> None:
    def look(regions: Any, _: Any) -> Any:
        run = regions.runs["coder"]
        return {"digest": run.digest, "record": run.record}

    seen = regions_of(case, look).returned
    assert re.fullmatch("[0-9a-f]{64}", seen["digest"])
    assert "steps" in seen["record"]


@cache
def versions_of(case: Case) -> Any:
    def look(regions: Any, _: Any) -> Any:
        names = ("scheme", "digest", "version", "uri")
        return {
            name: {key: getattr(version, key) for key in names} for name, version in regions.versions.items()
        }

    return regions_of(case, look).returned


@pytest.mark.parametrize(("model", "home"), [("coder", 1), ("assistant", 0)])
def test_a_version_lies_in_the_hot_tier_of_the_region_that_published_it(
    case: Case, model: str, home: int
) -> None:
    assert lies_in(versions_of(case)[model]["uri"], tiers_of(case)[home]["hot"])


def test_a_version_keeps_the_scheme_of_its_settings(case: Case) -> None:
    schemes = {name: version["scheme"] for name, version in versions_of(case).items()}
    assert schemes == {"coder": "none", "assistant": "int8-weight-only"}


def test_a_versions_digest_is_a_sha256_and_its_version_the_first_digits(case: Case) -> None:
    for version in versions_of(case).values():
        assert re.fullmatch("sha256:[0-9a-f]{64}", version["digest"])
        assert version["version"] == version["digest"].removeprefix("sha256:")[:12]


def test_two_models_are_two_versions(case: Case) -> None:
    assert len({version["uri"] for version in versions_of(case).values()}) == 2


@cache
def served_in(case: Case) -> Served:
    return case.served(regions_of(case, lambda regions, _: None))


@pytest.mark.parametrize("service", ["coder", "assistant"])
def test_each_region_serves_a_version_from_its_own_hot_tier(case: Case, service: str) -> None:
    served = served_in(case)
    for region, tiers in zip(case.regions[:2], tiers_of(case), strict=True):
        assert lies_in(served[region, service][0], tiers["hot"])


@pytest.mark.parametrize("service", ["coder", "assistant"])
def test_every_region_serves_the_digest_that_was_published(case: Case, service: str) -> None:
    served = served_in(case)
    published = versions_of(case)[service]["digest"]
    assert {served[region, service][1] for region in case.regions[:2]} == {published}


@pytest.mark.parametrize("service", ["coder", "assistant"])
def test_a_region_begins_with_a_service_only_when_the_one_before_has_finished_it(
    case: Case, service: str
) -> None:
    first, second, third = case.regions
    names = (second, third, first)
    recording = regions_of(case, lambda regions, _: None, regions=[{"name": name} for name in names])
    order = list(recording.resources)
    # Everything is registered only after its parent, so what the replicas stand in is where a service begins.
    places = {
        region: (order.index(made.parent), order.index(made.urn))
        for made in recording.of(case.replicas)
        for region, name in case.served_by(made.inputs)
        if name == service
    }
    for first, second in itertools.pairwise(names):
        assert places[first][1] < places[second][0]


@pytest.mark.parametrize("index", [0, 1])
def test_an_endpoint_has_a_url_only_when_the_replicas_behind_it_stand(case: Case, index: int) -> None:
    region = case.regions[index]
    seen: list[Any] = []

    def note(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.extend(case.served_by(inputs))
        return case.answers[case.replicas](inputs)

    noted = dataclasses.replace(case, answers=case.answers | {case.replicas: note})
    regions_of(noted, lambda regions, _: regions.endpoints[region].url.apply(seen.append))
    (url,) = [one for one in seen if isinstance(one, str)]
    assert {(region, "coder"), (region, "assistant")} <= set(seen[: seen.index(url)])


def test_a_region_exposes_its_services_at_one_url_with_a_handle(case: Case) -> None:
    def look(regions: Any, _: Any) -> Any:
        return [{"url": made.url, "handle": made.handle} for made in regions.endpoints.values()]

    endpoints = regions_of(case, look).returned
    assert len({endpoint["url"] for endpoint in endpoints}) == 2
    for endpoint in endpoints:
        assert re.match("https?://[^/]+", endpoint["url"])
        assert isinstance(json.loads(endpoint["handle"]), dict)
