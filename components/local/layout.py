"""Where things of target `local` lie and listen. Pure: everything follows from the settings.

    .skerry/tiers/REGION/TIER    data                .skerry/run/SUPERVISOR    processes, their logs
    .skerry/etc/SUPERVISOR       Envoy's files       .skerry/state             Pulumi's state
    .skerry/compiled             compiled layers

Ports follow from one number, `target.port`, so that one setting moves them all.
"""

from __future__ import annotations

from pathlib import Path

PORTS_PER_REGION = 100
PORTS_PER_SERVICE = 10

LOOPBACK = "127.0.0.1"
GLOBAL_SUPERVISOR = "global"
ENVOY_PROGRAM = "_envoy"  # no service can be called so
COMPILED = ".skerry/compiled"
"""Compiled layers of served models, which all regions share: they depend on the processor, and there is one of it."""


def region_supervisor(region: str) -> str:
    """One supervisor per region: a dead one is not a total outage."""
    return f"region-{region}"


def region_port(port: int, region_index: int) -> int:
    """Port of a region's endpoint."""
    return port + PORTS_PER_REGION * (region_index + 1)


def service_port(port: int, region_index: int, service_index: int) -> int:
    """Port of a service's first replica in a region; the others follow."""
    return region_port(port, region_index) + PORTS_PER_SERVICE * (service_index + 1)


def tier_uri(root: Path, region: str, tier: str) -> str:
    """fsspec URI of a tier's folder."""
    return (root / ".skerry" / "tiers" / region / tier).as_uri()


def endpoints_file(supervisor: str, service: str) -> str:
    """Path of the file that tells Envoy which replicas of a service stand, relative to the project."""
    return envoy_file(supervisor, f"endpoints-{service}.json")


def admin_socket(supervisor: str) -> str:
    """Path of Envoy's administration socket, relative to the project."""
    return f".skerry/run/{supervisor}/envoy-admin.sock"


def envoy_file(supervisor: str, name: str) -> str:
    """Path of one of Envoy's files, relative to the project."""
    return f".skerry/etc/{supervisor}/{name}"
