"""Rules of the targets whose regions are clusters, and of the catalog."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.catalog.accelerators import accelerators_in, regions_of, regions_with
from components.k8s.settings import LONGEST_DRAIN_SECONDS
from components.settings.load import load_stack_settings
from components.settings.mistakes import Mistake, SettingsError
from tests.contract.targets import CLUSTERS, PIN, TARGETS, Case
from tests.unit.settings.files import mistakes_of

GPU = {"aws": "l4", "gcp": "l4"}
EIGHT = {"aws": "a100-80gb", "gcp": "h100-80gb"}
BUCKET = {"aws": "s3://", "gcp": "gs://"}


@pytest.fixture(params=CLUSTERS)
def target(request: pytest.FixtureRequest) -> str:
    return request.param


def stack(target: str, /, **changes: Any) -> dict[str, Any]:
    """Settings of one region on a cluster, some of them replaced."""
    case: Case = TARGETS[target]
    region = case.regions[0]
    return {
        "environment": "test",
        "layers": ["platform", "apps"],
        "target": {**case.target, "networks": {region: case.target["networks"][region]}},
        "regions": [{"name": region}],
        "pools": [{"name": "pool", "accelerator": "cpu", "max_nodes": 8}],
        **changes,
    }


def test_what_these_tests_spoil_is_sound(target: str) -> None:
    load_stack_settings(stack(target))


def all_mistakes(settings: dict[str, Any]) -> dict[str, Mistake]:
    """Every mistake by its path, none where the settings are sound."""
    try:
        load_stack_settings(settings)
    except SettingsError as error:
        return {mistake.path: mistake for mistake in error.mistakes}
    return {}


def mistake_at(path: str, settings: dict[str, Any]) -> Mistake:
    found = mistakes_of(settings)
    assert path in found, found
    return found[path]


def pool(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "pool", "accelerator": "cpu", "max_nodes": 8, **changes}]


def test_an_accelerator_that_no_target_has_is_answered_with_those_of_this_one(target: str) -> None:
    mistake = mistake_at("pools[0].accelerator", stack(target, pools=pool(accelerator="abacus")))
    assert f"target {target} has no such accelerator" in mistake.rule
    assert "l4" in mistake.remedy and "h100-80gb" in mistake.remedy


def lacking(target: str) -> tuple[str, str]:
    """A region, and an accelerator that it lacks and others have."""
    return next(
        (region, name)
        for region in regions_of(target)
        for name in ("h100-80gb", "b200")
        if name not in accelerators_in(target, region) and regions_with(target, name)
    )


def test_an_accelerator_that_the_region_lacks_is_answered_with_the_regions_that_have_it(target: str) -> None:
    region, name = lacking(target)
    settings = stack(target, regions=[{"name": region}], pools=pool(accelerator=name))
    mistake = mistake_at("pools[0].accelerator", settings)
    assert f"does not offer it in {region}" in mistake.rule
    assert all(other in mistake.rule for other in regions_with(target, name))


def test_a_region_that_the_target_lacks_is_answered_with_those_that_it_has(target: str) -> None:
    mistake = mistake_at("regions[0].name", stack(target, regions=[{"name": "moon-north-1"}]))
    assert "no such region" in mistake.rule and TARGETS[target].regions[0] in mistake.remedy


@pytest.mark.parametrize("topology", ["3x5", "2x2x2", None])
def test_a_topology_that_a_tpu_does_not_come_in_is_answered_with_those_that_exist(
    topology: str | None,
) -> None:
    region = regions_with("gcp", "tpu-v5e")[0]
    settings = stack("gcp", regions=[{"name": region}], pools=pool(accelerator="tpu-v5e", topology=topology))
    mistake = mistake_at("pools[0].topology", settings)
    assert "slices of certain topologies" in mistake.rule and "2x4" in mistake.remedy


def test_what_comes_in_no_slices_has_no_topology(target: str) -> None:
    mistake = mistake_at("pools[0].topology", stack(target, pools=pool(topology="2x4")))
    assert "no slices" in mistake.rule and mistake.remedy == "Remove it"


def test_the_bundled_workloads_do_not_run_on_tpus() -> None:
    pools = pool(accelerator="tpu-v5e", topology="2x4")
    run = {"name": "coder", "region": TARGETS["gcp"].regions[0], "pool": "pool", "steps": 1}
    mistake = mistake_at("training[0].pool", stack("gcp", pools=pools, training=[run]))
    assert "no build for TPUs" in mistake.rule


def test_workers_count_with_the_accelerators_of_their_nodes(target: str) -> None:
    run = {"name": "coder", "region": TARGETS[target].regions[0], "pool": "pool", "steps": 1, "workers": 2}
    regions = [{"name": regions_with(target, EIGHT[target])[0]}]
    settings = stack(target, regions=regions, pools=pool(accelerator=EIGHT[target]), training=[run])
    mistake = mistake_at("training[0].workers", settings)
    assert "8 processes on each node" in mistake.rule and mistake.remedy == "Choose 1"


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"ladder": ["spot", "spot"]}, "ladder[1]", "given once"),
        ({"ladder": ["reserved", "spot"]}, "reservation", "draws on a reservation"),
        ({"reservation": "mine"}, "reservation", "never be used"),
        ({"ladder": ["reserved"], "reservation": "mine"}, "reservation_zone", "lies in one zone"),
        ({"reservation_zone": "some-zone"}, "reservation_zone", "names no reservation"),
        ({"reservation_zone": "A zone"}, "reservation_zone", "as the cloud calls it"),
        ({"ladder": ["reserved"], "reservation": "not a name"}, "reservation", "as the cloud lists it"),
        ({"ladder": []}, "ladder", "at least 1"),
        ({"ladder": ["borrowed"]}, "ladder[0]", "values that exist"),
    ],
)
def test_a_ladder_can_be_climbed(target: str, changes: dict[str, Any], path: str, words: str) -> None:
    assert words in mistake_at(f"pools[0].{path}", stack(target, pools=pool(**changes))).rule


def reserved(target: str, zone: str, *others: str) -> list[dict[str, Any]]:
    return pool(ladder=["reserved", *others], reservation="cr-0123456789abcdef0", reservation_zone=zone)


def test_a_reservation_lies_in_a_zone_of_the_stacks_networks(target: str) -> None:
    zone = TARGETS[target].zone
    load_stack_settings(stack(target, pools=reserved(target, zone)))
    mistake = mistake_at("pools[0].reservation_zone", stack(target, pools=reserved(target, f"{zone}x")))
    assert (
        mistake.value == f"{zone}x" and "no network of this stack" in mistake.rule and zone in mistake.remedy
    )


def test_a_pool_has_a_rung_in_every_region(target: str) -> None:
    case: Case = TARGETS[target]
    first, second = case.regions[:2]
    both = {name: case.target["networks"][name] for name in (first, second)}
    changes: dict[str, Any] = {
        "regions": [{"name": first}, {"name": second}],
        "target": {**case.target, "networks": both},
    }
    load_stack_settings(stack(target, pools=reserved(target, case.zone, "spot"), **changes))
    mistake = mistake_at("pools[0].ladder", stack(target, pools=reserved(target, case.zone), **changes))
    assert f"in {second} the pool has no rung" in mistake.rule


def served(target: str, /, **model: Any) -> dict[str, Any]:
    models = [{"name": "assistant", "source": "package://some_package/some.gguf", **model}]
    services = [{"name": "assistant", "model": "assistant", "pool": "pool"}]
    return stack(target, models=models, services=services)


def test_what_is_served_on_a_cluster_is_pinned(target: str) -> None:
    load_stack_settings(served(target, digest=PIN))
    mistake = mistake_at("services[0].model", served(target))
    assert "has no digest" in mistake.rule and "models[].digest" in mistake.remedy


def test_a_digest_is_one(target: str) -> None:
    assert "64 hexadecimal digits" in mistake_at("models[0].digest", served(target, digest="latest")).rule


def test_pods_read_no_folder_of_a_machine_and_no_bucket_of_another_cloud(target: str) -> None:
    load_stack_settings(served(target, source=f"{BUCKET[target]}bucket/model", digest=PIN))
    foreign = "gs://bucket/model" if target == "aws" else "s3://bucket/model"
    for source in ("file:///models/mine", foreign):
        mistake = mistake_at("models[0].source", served(target, source=source, digest=PIN))
        assert f"{BUCKET[target]} only" in mistake.rule and BUCKET[target] in mistake.remedy


def test_an_image_is_pinned_by_its_digest(target: str) -> None:
    images = {"serving": "registry.example.com/serving:latest"}
    settings = stack(target, target={**stack(target)["target"], "images": images})
    assert "pinned by its digest" in mistake_at("target.images.serving", settings).rule


def test_the_global_layer_has_a_host_name(target: str) -> None:
    without = {key: value for key, value in stack(target)["target"].items() if key != "domain"}
    settings = stack(target, layers=["platform", "global"], target=without)
    assert "host name" in mistake_at("target.domain", settings).rule


def test_a_host_name_is_one(target: str) -> None:
    settings = stack(target, target={**stack(target)["target"], "domain": "https://inference"})
    assert "host name such as" in mistake_at("target.domain", settings).rule


def test_every_region_has_a_network_and_every_network_a_region(target: str) -> None:
    first, second, _ = TARGETS[target].regions
    networks = TARGETS[target].target["networks"]
    settings = stack(
        target,
        regions=[{"name": second}],
        target={**TARGETS[target].target, "networks": {first: networks[first]}},
    )
    found = mistakes_of(settings)
    assert "has no network" in found[f"target.networks.{second}"].rule
    assert "no entry of regions" in found[f"target.networks.{first}"].rule


def test_a_mistake_in_a_targets_own_settings_is_told_by_its_path_in_the_file(target: str) -> None:
    settings = stack(target, target={**stack(target)["target"], "colour": "red"})
    mistake = mistake_at("target.colour", settings)
    assert "domain" in mistake.rule and "networks" in mistake.rule and "threads_per_node" not in mistake.rule


def test_a_target_without_a_name_is_told_so(target: str) -> None:
    without = {key: value for key, value in stack(target)["target"].items() if key != "name"}
    assert "required" in mistake_at("target.name", stack(target, target=without)).rule


@pytest.mark.parametrize(("replicas", "most"), [(2, 2), (3, 2), (0, 4)])
def test_an_autoscaler_has_a_range(target: str, replicas: int, most: int) -> None:
    settings = served(target, digest=PIN)
    (service,) = settings["services"]
    settings["services"] = [{**service, "replicas": replicas, "max_replicas": most}]
    found = mistakes_of(settings)
    assert set(found) & {"services[0].max_replicas", "services[0].replicas"}


@pytest.mark.parametrize("accelerator", ["l4", "cpu"])
def test_a_pool_has_a_node_to_roll_over(target: str, accelerator: str) -> None:
    settings = served(target, digest=PIN)
    region = regions_with(target, "l4")[0]
    (service,) = settings["services"]
    settings |= {"regions": [{"name": region}], "services": [{**service, "replicas": 4}]}
    settings["pools"] = pool(accelerator=accelerator, max_nodes=4)
    mistake = mistake_at("pools[0].max_nodes", settings)
    assert "a new one needs a node" in mistake.rule and "Raise it to 5" in mistake.remedy
    settings["pools"] = pool(accelerator=accelerator, max_nodes=5)
    assert "pools[0].max_nodes" not in mistakes_of(settings)


def test_a_pool_holds_as_many_replicas_as_the_autoscaler_may_choose(target: str) -> None:
    settings = served(target, digest=PIN)
    (service,) = settings["services"]
    settings["services"] = [{**service, "max_replicas": 9}]
    assert "9 nodes" in mistake_at("pools[0].max_nodes", settings).rule


def with_float8(target: str, accelerator: str, /, **model: Any) -> dict[str, Any]:
    """A model in fp8 that is served on a pool with an accelerator, in a region that has it."""
    settings = served(target, digest=PIN, scheme="fp8", **model)
    region = regions_with(target, accelerator)[0]
    settings["regions"], settings["pools"] = [{"name": region}], pool(accelerator=accelerator)
    networks = TARGETS[target].target["networks"]
    settings["target"] = {
        **TARGETS[target].target,
        "networks": {region: next(iter(networks.values()))},
    }
    return settings


@pytest.mark.parametrize(("accelerator", "told"), [("cpu", "cpu"), ("t4", "t4"), ("a100-80gb", "a100-80gb")])
def test_fp8_is_refused_where_it_is_not_multiplied_with_the_accelerators_that_do(
    target: str, accelerator: str, told: str
) -> None:
    found = mistakes_of(with_float8(target, accelerator, pool="pool"))
    for path in ("models[0].pool", "services[0].pool"):
        assert "8.9 or newer" in found[path].rule and f"the pool has {told}" in found[path].rule
        assert "l4" in found[path].remedy and "a100" not in found[path].remedy


def test_fp8_is_published_on_such_a_gpu_too_and_counts_as_a_node_there(target: str) -> None:
    mistake = mistake_at("models[0].pool", with_float8(target, "l4"))
    assert "also to be published" in mistake.rule and "l4" in mistake.remedy
    assert not {"models[0].pool", "services[0].pool"} & set(
        all_mistakes(with_float8(target, "l4", pool="pool"))
    )
    settings = with_float8(target, "l4", pool="pool")
    settings["models"] += [{**settings["models"][0], "name": "another"}]
    settings["pools"] = pool(accelerator="l4", max_nodes=2)
    assert "publishing ask for 3 nodes" in mistake_at("pools[0].max_nodes", settings).rule


def test_a_key_itself_is_no_name_of_a_secret_and_is_not_shown(target: str) -> None:
    settings = served(target, digest=PIN)
    settings["services"][0]["api_keys"] = "sk-Not_A_Name"
    mistake = mistake_at("services[0].api_keys", settings)
    assert "never a key itself" in mistake.rule and "sk-" not in str(mistake)


def test_a_drain_that_is_left_out_lasts_as_long_as_the_longest_answer_and_an_explicit_one_stands(
    target: str,
) -> None:
    left_out = load_stack_settings(stack(target, endpoint={"request_timeout_seconds": 500})).endpoint
    explicit = load_stack_settings(stack(target, endpoint={"drain_seconds": 20})).endpoint
    assert (left_out.drain, explicit.drain) == (500, 20)


def test_a_drain_that_no_load_balancer_can_keep_is_refused(target: str) -> None:
    long = {"request_timeout_seconds": LONGEST_DRAIN_SECONDS + 1}
    mistake = mistake_at("endpoint.request_timeout_seconds", stack(target, endpoint=long))
    assert "at most 3600 seconds" in mistake.rule and "endpoint.drain_seconds" in mistake.remedy
    assert not all_mistakes(stack(target, endpoint={**long, "drain_seconds": 60}))


def test_an_autoscaler_that_measures_cpu_is_refused_on_a_pool_of_accelerators(target: str) -> None:
    settings = served(target, digest=PIN)
    region = regions_with(target, "l4")[0]
    (service,) = settings["services"]
    settings |= {"regions": [{"name": region}], "services": [{**service, "replicas": 1, "max_replicas": 3}]}
    settings["pools"] = pool(accelerator="l4")
    mistake = mistake_at("services[0].max_replicas", settings)
    assert mistake.value == 3 and "on a pool of l4" in mistake.rule
    assert "set replicas to what the peak needs, such as 3" in mistake.remedy
    settings["pools"] = pool()
    assert "services[0].max_replicas" not in all_mistakes(settings)


def test_a_pull_secret_is_named_once(target: str) -> None:
    own = stack(target)["target"]
    settings = stack(target, target={**own, "image_pull_secrets": ["ours", "theirs", "ours"]})
    mistake = mistake_at("target.image_pull_secrets[2]", settings)
    assert mistake.value == "ours" and "given once" in mistake.rule


SPOT_DRAIN = {"aws": 115, "gcp": 20}


def with_drain(target: str, ladder: list[str], **endpoint: int) -> dict[str, Any]:
    """A service on a pool with a ladder, in a stack whose endpoint says how long it drains."""
    settings = served(target, digest=PIN)
    settings["pools"] = pool(ladder=ladder)
    return {**settings, "endpoint": endpoint}


def test_a_drain_that_a_spot_node_of_a_serving_pool_cannot_keep_is_refused(target: str) -> None:
    longest = SPOT_DRAIN[target]
    settings = with_drain(target, ["spot", "on-demand"], drain_seconds=longest + 1)
    mistake = mistake_at("endpoint.drain_seconds", settings)
    assert mistake.value == longest + 1 and "spot nodes of pool pool" in mistake.rule
    assert f"Choose at most {longest}" in mistake.remedy
    fitting = [
        with_drain(target, ["spot", "on-demand"], drain_seconds=longest),
        with_drain(target, ["on-demand"], drain_seconds=longest + 1),
        with_drain(target, ["spot", "on-demand"], request_timeout_seconds=longest + 1),
        {**settings, "services": [{**settings["services"][0], "replicas": 0}]},
    ]
    assert all("endpoint.drain_seconds" not in all_mistakes(one) for one in fitting)


def test_a_model_that_fits_on_no_nodes_disk_is_refused_with_the_most_that_fits(target: str) -> None:
    def settings(gib: int) -> dict[str, Any]:
        return stack(
            target, models=[{"name": "large", "source": f"{BUCKET[target]}bucket/large", "disk_gib": gib}]
        )

    mistake = mistake_at("models[0].disk_gib", settings(140))
    assert "a node of a pool" in mistake.rule
    most = re.search(r"at most (\d+)", mistake.remedy)
    assert most is not None
    load_stack_settings(settings(int(most[1])))
    assert "models[0].disk_gib" in mistakes_of(settings(int(most[1]) + 1))


def test_a_model_that_fits_on_no_system_node_is_refused_where_one_has_to_publish_it(target: str) -> None:
    settings = stack(
        target,
        pools=pool(accelerator="l4"),
        models=[{"name": "large", "source": f"{BUCKET[target]}bucket/large", "disk_gib": 62}],
    )
    mistake = mistake_at("models[0].disk_gib", settings)
    assert "a system node" in mistake.rule and "add a pool of accelerator cpu" in mistake.remedy
    load_stack_settings({**settings, "pools": [*pool(accelerator="l4"), {**pool()[0], "name": "cpus"}]})
