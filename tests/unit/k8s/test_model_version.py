"""Publishing on a cluster, and copies in other regions."""

from __future__ import annotations

from typing import Any

from components.contracts import Access
from components.settings.items import ModelSettings
from tests.recorder import Recording
from tests.unit.k8s.host import (
    GIVEN,
    IMAGES,
    PIN,
    RUN,
    SECOND,
    TRAINED,
    PlainHost,
    main_of,
    named,
    option,
    recorded,
    region_over,
    template_of,
    whole_region,
)


def published(model: ModelSettings, image: str = IMAGES["serving"]) -> Any:
    """A version of a given model."""

    def program() -> Any:
        region = region_over(PlainHost("here"))
        region._images = region._images.model_copy(update={"serving": image})
        return vars(region.publish(model, None))

    return recorded(program).returned


def test_a_version_is_published_by_a_job_to_where_it_says() -> None:
    recording = whole_region()
    command = main_of(named(recording, ":Job", "publish-given"))["command"]
    assert option(command, "--source") == "s3://bucket/given"
    assert option(command, "--scheme") == "int8-weight-only"
    uri = recording.returned["versions"]["given"]["uri"]
    assert option(command, "--output") == uri and uri.startswith("memory://here-hot/models/given/")


def test_a_trained_version_is_published_from_the_runs_export() -> None:
    recording = whole_region()
    command = main_of(named(recording, ":Job", "publish-coder"))["command"]
    assert option(command, "--source") == recording.returned["run"]["uri"]


def test_a_version_is_the_pinned_one() -> None:
    version = published(GIVEN)
    assert (version["digest"], version["version"]) == (PIN, "2" * 12)


def test_a_version_that_is_not_pinned_has_no_digest() -> None:
    version = published(ModelSettings(name="given", source="s3://bucket/given"))
    assert version["digest"] == version["version"] == ""


def test_a_pin_moves_no_artifact() -> None:
    without = published(ModelSettings(name="given", source="s3://bucket/given"))
    assert without["uri"] == published(GIVEN)["uri"]


def test_another_source_scheme_or_image_is_another_artifact() -> None:
    uris = {
        published(GIVEN)["uri"],
        published(GIVEN, image="registry.example.com/other")["uri"],
        published(ModelSettings(name="given", source="s3://bucket/other"))["uri"],
        published(
            ModelSettings.model_validate_json(
                '{"name": "given", "source": "s3://bucket/given", "scheme": "none"}'
            )
        )["uri"],
    }
    assert len(uris) == 4


def test_nothing_is_known_of_the_artifact_before_it_is_made() -> None:
    assert published(GIVEN)["facts"] == {}


def two_regions() -> tuple[Recording, PlainHost, PlainHost]:
    hosts: list[PlainHost] = []

    def program() -> Any:
        hosts[:] = [PlainHost("here"), PlainHost("there")]
        here, there = (region_over(host) for host in hosts)
        version = here.publish(GIVEN, None)
        second = SECOND.model_copy(update={"name": "second"})
        for service in (SECOND, second):
            there.serve(service, version)
        return [grant.uri for grants in hosts[1].granted.values() for grant in grants]

    recording = recorded(program)
    here, there = hosts
    return recording, here, there


def test_a_region_serves_a_copy_of_its_own_which_is_made_once() -> None:
    recording, _, _ = two_regions()
    copies = [made for made in recording.of(":Job") if made.inputs["metadata"]["name"].startswith("copy-")]
    (copy,) = copies
    command = main_of(copy)["command"]
    source, output = option(command, "--source"), option(command, "--output")
    assert source.startswith("memory://here-hot/") and output.startswith("memory://there-hot/")
    assert source.rpartition("/")[2] == output.rpartition("/")[2]
    served = [main_of(made)["command"] for made in recording.of(":Deployment")]
    assert {option(command, "--model-uri") for command in served} == {output}


def test_who_copies_reads_there_and_writes_here_and_who_serves_only_reads_here() -> None:
    _, _, there = two_regions()
    copying = [grant.access for grant in there.granted["copy-given"]]
    assert copying == [Access.READ, Access.WRITE]
    assert [grant.access for grant in there.granted["serve-given"]] == [Access.READ]


def test_who_publishes_a_run_reads_its_export_and_who_trains_writes_only_its_own_folder() -> None:
    hosts: list[PlainHost] = []

    def program() -> Any:
        hosts.append(PlainHost("here"))
        region = region_over(hosts[0])
        region.publish(TRAINED, region.train(RUN))
        return {name: [grant.uri for grant in grants] for name, grants in hosts[0].granted.items()}

    uris = recorded(program).returned
    assert uris["train-coder"] == ["memory://here-warm/training/coder"]
    hot, export = uris["publish-coder"]
    assert hot == "memory://here-hot/models/coder" and export.startswith("memory://here-warm/training/coder/")
    assert [grant.access for grant in hosts[0].granted["publish-coder"]] == [Access.WRITE, Access.READ]


def test_what_names_a_pool_is_published_on_a_node_of_it_with_its_accelerators() -> None:
    def program() -> Any:
        region = region_over(PlainHost("here", accelerators=2))
        for model in (GIVEN, GIVEN.model_copy(update={"name": "placed", "pool": "pool"})):
            region.publish(model, None)

    made = recorded(program)
    placed, plain = (named(made, ":Job", f"publish-{name}") for name in ("placed", "given"))
    assert template_of(placed)["nodeSelector"]["pool"] == "pool"
    assert main_of(placed)["resources"]["limits"]["example.com/chip"] == "2"
    assert "nodeSelector" not in template_of(plain) and "example.com/chip" not in str(plain.inputs)


def test_whoever_holds_a_model_may_take_the_disk_that_the_model_says_and_its_logs() -> None:
    large = GIVEN.model_copy(update={"disk_gib": 42})

    def program() -> None:
        here, there = (region_over(PlainHost(name)) for name in ("here", "there"))
        there.serve(SECOND, here.publish(large, None))

    made = recorded(program)
    holders = [
        named(made, ":Job", "publish-given"),
        named(made, ":Job", "copy-given"),
        named(made, ":Deployment", "serve-given"),
    ]
    for holder in holders:
        (scratch,) = (one for one in template_of(holder)["volumes"] if one["name"] == "scratch")
        assert scratch["emptyDir"] == {"sizeLimit": "42Gi"}, holder.urn
        assert main_of(holder)["resources"]["limits"]["ephemeral-storage"] == "43Gi", holder.urn


def test_a_transfer_on_a_pool_leaves_all_of_its_nodes_to_runs_and_replicas() -> None:
    def program() -> None:
        here, there = (region_over(PlainHost(name, 0), nodes=1) for name in ("here", "there"))
        there.serve(SECOND, here.publish(GIVEN, None))

    made = recorded(program)
    for verb in ("publish", "copy"):
        transfer = template_of(named(made, ":Job", f"{verb}-given"))
        assert transfer["nodeSelector"]["pool"] == "pool"
        assert transfer["priorityClassName"] == "skerry-work", "a replica that needs the node takes it"


def test_no_transfer_waits_for_a_run_on_the_nodes_that_the_run_waits_for() -> None:
    published = named(whole_region(accelerators=0), ":Job", "publish-coder")
    assert "nodeSelector" not in template_of(published)
