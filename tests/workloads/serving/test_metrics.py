"""What /metrics says, by whom it can be read, and what reading it costs."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import HANG_SECONDS
from tests.workloads.serving.serving import NAME, Running
from workloads.serving.engine import Engine
from workloads.serving.metrics import Metrics
from workloads.serving.terms import Counts
from workloads.serving.vllm.figures import Figures

Serve = Callable[..., Running]
BOUNDARIES = {
    "gen_ai_server_time_to_first_token_seconds":
        "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0",
    "gen_ai_server_time_per_output_token_seconds":
        "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1.0 2.5",
    "gen_ai_server_request_duration_seconds":
        "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92",
    "gen_ai_client_token_usage":
        "1 4 16 64 256 1024 4096 16384 65536 262144 1048576 4194304 16777216 67108864",
}  # fmt: skip


def samples(server: Running) -> list[Any]:
    text = server.client.get("/metrics").text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def test_an_answer_is_counted_in_requests_tokens_steps_and_times(shared: Running) -> None:
    expected = {
        ("skerry_requests_total", "route", "/v1/completions"): 2,
        ("skerry_requests_total", "status", "404"): 1,
        ("skerry_prompt_tokens_total", "model", NAME): 7,
        ("skerry_prefill_tokens_total", "model", NAME): 7,
        ("skerry_generated_tokens_total", "model", NAME): 9,
        ("skerry_decode_steps_total", "model", NAME): 8,
        ("skerry_steps_total", "model", NAME): 9,
        ("skerry_inter_token_seconds_count", "model", NAME): 8,
        ("gen_ai_client_token_usage_sum", "gen_ai_token_type", "input"): 7,
        ("gen_ai_client_token_usage_sum", "gen_ai_token_type", "output"): 9,
        ("gen_ai_server_time_to_first_token_seconds_count", "gen_ai_operation_name", "text_completion"): 1,
        ("gen_ai_server_time_per_output_token_seconds_count", "gen_ai_request_model", NAME): 1,
        ("gen_ai_server_request_duration_seconds_count", "error_type", ""): 1,
    }

    def read() -> dict[tuple[str, str, str], float]:
        return {key: shared.metric(key[0], **{key[1]: key[2]}) for key in expected}

    before = read()
    assert shared.complete("class B", max_tokens=9).status_code == 200
    assert shared.client.post("/v1/completions", json={"model": "x", "prompt": "x"}).status_code == 404
    assert {key: value - before[key] for key, value in read().items()} == expected


def test_times_of_an_answer_agree_with_each_other(shared: Running) -> None:
    names = [f"gen_ai_server_{name}_seconds_sum" for name in ("request_duration", "time_to_first_token")]
    per_token = "gen_ai_server_time_per_output_token_seconds_sum"
    before = [shared.metric(name) for name in (*names, per_token)]
    shared.complete(max_tokens=50)
    whole, first, mean = (
        shared.metric(name) - was for name, was in zip((*names, per_token), before, strict=True)
    )
    assert 0 < first < whole and first + 49 * mean <= whole


def test_buckets_are_those_of_the_conventions(shared: Running) -> None:
    shared.complete()
    found: dict[str, list[float]] = {name: [] for name in BOUNDARIES}
    for sample in samples(shared):
        name = sample.name.removesuffix("_bucket")
        if name in found and float(sample.labels.get("le", "inf")) not in (*found[name], float("inf")):
            found[name].append(float(sample.labels["le"]))
    assert found == {name: [float(edge) for edge in text.split()] for name, text in BOUNDARIES.items()}


def test_an_endpoint_picker_finds_queue_running_cache_use_and_the_cache_s_blocks(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8, "--cache-mib", "8").wait_ready()
    gauges = ("skerry_requests_waiting", "skerry_requests_running", "skerry_kv_cache_usage_ratio")
    assert [server.metric(name) for name in gauges] == [0, 0, 0]
    with server.stream(30_000) as answer:
        lines = answer.iter_lines()  # kept: dropping the iterator would close the connection
        next(lines)
        waiting, running, usage = (server.metric(name) for name in gauges)
    # 2 layers of 2 heads of 8 numbers in bf16, keys and values: 128 bytes a position, 16 positions a block
    blocks = 8 * 1024 * 1024 // 128 // 16
    assert (waiting, running, usage) == (0, 1, pytest.approx(-(-30_001 // 16) / blocks))
    assert server.metric("skerry_cache_config_info", block_size="16", num_gpu_blocks=str(blocks)) == 1


def test_a_prompt_that_begins_like_an_earlier_one_is_counted_as_found_in_the_cache(shared: Running) -> None:
    prompt = "a beginning that two prompts share, of more than sixty characters: "
    shared.complete(prompt + "one")
    before = shared.metric("skerry_prefix_cache_tokens_total")
    shared.complete(prompt + "two")
    assert shared.metric("skerry_prefix_cache_tokens_total") - before == len(prompt) // 16 * 16


def test_labels_are_the_served_name_and_the_published_digest_and_nothing_of_a_client(
    shared: Running, tiny_int8: dict[str, Any]
) -> None:
    marker = "xyzzy-plugh"
    shared.complete(marker, user=marker, stop=marker)
    for body in ({"model": marker, "prompt": marker}, {"model": NAME, "prompt": marker, marker: marker}):
        shared.client.post("/v1/completions", json=body, headers={"x-request-id": marker, marker: marker})
    shared.client.get(f"/v1/{marker}")
    shared.client.request("XYZZY-PLUGH", "/v1/completions")
    assert marker not in shared.client.get("/metrics").text.lower()
    version = tiny_int8["digest"].removeprefix("sha256:")[:12]
    named = [
        {**sample.labels, "name": sample.labels.get("model") or sample.labels.get("gen_ai_request_model")}
        for sample in samples(shared)
        if sample.labels.keys() & {"model", "gen_ai_request_model"}
    ]
    assert {(labels["name"], labels["version"]) for labels in named} == {(NAME, version)}
    info = {"digest": tiny_int8["digest"], "scheme": "int8-weight-only", "version": version}
    assert shared.metric("skerry_model_info", **info) == 1


class Numbers:
    """A model that has made `tokens` tokens."""

    def __init__(self, tokens: int) -> None:
        self._counts = Counts(generated_tokens=tokens)

    def waiting(self) -> int:
        return 0

    running = cache_usage = cache_blocks = block_tokens = waiting

    def counts(self) -> Counts:
        return self._counts


def test_the_cache_of_vllm_is_told_as_vllm_tells_it() -> None:
    figures = Figures()
    figures.hear('vllm:cache_config_info{block_size="128",cache_dtype="auto",num_gpu_blocks="77"} 1.0\n')
    metrics = Metrics()
    metrics.model("one", "1", "sha256:1", "bf16", figures)
    told = 'skerry_cache_config_info{block_size="128",model="one",num_gpu_blocks="77",version="1"} 1.0'
    assert told in metrics.text().decode()


def test_two_models_of_one_server_have_their_own_numbers() -> None:
    metrics = Metrics()
    for name, tokens in (("one", 3), ("two", 5)):
        metrics.model(name, f"v-{name}", "sha256:0", "none", Numbers(tokens))
    text = metrics.text().decode()
    assert 'skerry_generated_tokens_total{model="one",version="v-one"} 3.0' in text
    assert 'skerry_generated_tokens_total{model="two",version="v-two"} 5.0' in text


def test_a_scrape_waits_for_nothing_that_the_engine_holds() -> None:
    engine, metrics = Engine(waiting_limit=1), Metrics()
    metrics.model("one", "v", "sha256:0", "none", engine)
    read: list[bytes] = []
    scrape = threading.Thread(target=lambda: read.append(metrics.text()), daemon=True)
    with engine._changed:  # as the worker holds it between two steps
        scrape.start()
        scrape.join(HANG_SECONDS)
        assert read and b'skerry_requests_running{model="one",version="v"} 0.0' in read[0]
