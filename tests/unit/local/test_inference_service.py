"""Replicas of a model version on this machine."""

from __future__ import annotations

from typing import Any

from components.local.inference_service import STOP_MARGIN_SECONDS, LocalInferenceService
from components.settings.items import LimitSettings
from tests.recorder import Recording, record


def serve(replicas: int = 2, drain_seconds: int = 33) -> Recording:
    """Registers a service; returns its address."""

    def program() -> Any:
        made = LocalInferenceService(
            "east-coder",
            {
                "region": "east",
                "service": "coder",
                "model_uri": "file:///models/coder",
                "digest": "sha256:0",
                "replicas": replicas,
                "threads": 1,
                "port": 9010,
                "limits": LimitSettings(slots=3, queue=4, cache_mib=5, requests_per_minute=6),
                "ready_seconds": 44,
                "drain_seconds": drain_seconds,
            },
        )
        return made.address

    return record(program, {})


def test_replicas_drain_as_long_as_the_settings_say_and_are_killed_only_after_that() -> None:
    (made,) = serve(drain_seconds=33).of(":ProcessSet")
    command = list(made.inputs["command"])
    assert command[command.index("--drain-seconds") + 1] == "33"
    assert made.inputs["readySeconds"] == 44
    assert made.inputs["stopSeconds"] == 33 + STOP_MARGIN_SECONDS > 33


def test_a_replica_is_told_its_limits_and_where_compiled_layers_outlive_it() -> None:
    (made,) = serve().of(":ProcessSet")
    command = list(made.inputs["command"])
    told = {flag: command[command.index(flag) + 1] for flag in ("--slots", "--queue", "--cache-mib")}
    assert told == {"--slots": "3", "--queue": "4", "--cache-mib": "5"}
    assert command[command.index("--requests-per-minute") + 1] == "6"
    assert command[command.index("--compile-cache") + 1] == ".skerry/compiled"


def test_a_replica_is_on_the_cpu_that_its_pool_has() -> None:
    (made,) = serve().of(":ProcessSet")
    command = list(made.inputs["command"])
    assert command[command.index("--device") + 1] == "cpu"


def test_the_address_is_the_ports_of_the_replicas_and_one_for_a_successor() -> None:
    assert serve(replicas=2).returned == "[9010, 9011, 9012]"


def test_the_address_of_a_service_that_is_scaled_to_nothing_is_empty() -> None:
    assert serve(replicas=0).returned == "[]"
