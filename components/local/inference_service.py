"""Replicas of a model version on this machine."""

from __future__ import annotations

import json
from typing import TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions

from components.envoy.config import READY_PATH
from components.local.layout import COMPILED, admin_socket, endpoints_file, region_supervisor
from components.local.resources import WORKLOADS_PYTHON, ProcessSet
from components.serving import limit_flags
from components.settings.items import LimitSettings

STOP_MARGIN_SECONDS = 5


class LocalInferenceServiceArgs(TypedDict):
    """Args of `LocalInferenceService`."""

    region: str
    """Region that the replicas run in."""
    service: str
    """What requests give as their `model`."""
    model_uri: Input[str]
    """Folder of the published version in this region's tier."""
    digest: Input[str]
    """Digest of the version: a replica that holds another one never becomes ready."""
    replicas: int
    """Number of processes."""
    threads: int
    """Threads of each."""
    port: int
    """Port of the first replica."""
    limits: LimitSettings
    """What one replica takes on."""
    ready_seconds: int
    """Seconds that a replica may take until it is ready."""
    drain_seconds: int
    """How long running answers may take to finish when a replica stops."""


class LocalInferenceService(pulumi.ComponentResource):
    """The serving workload, N times, under the region's supervisor. `address` is the ports that replicas may
    have, as JSON."""

    def __init__(
        self,
        name: str,
        args: LocalInferenceServiceArgs,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:LocalInferenceService", name, {}, opts)
        supervisor = region_supervisor(args["region"])
        # One more than replicas: a successor answers there before a replica stops.
        ports = [args["port"] + index for index in range(args["replicas"] + 1)] if args["replicas"] else []
        self.replicas = ProcessSet(
            f"{name}-replicas",
            supervisor=supervisor,
            program=args["service"],
            command=[
                *(WORKLOADS_PYTHON, "-m", "workloads.serving.server"),
                *("--model-uri", args["model_uri"]),
                *("--digest", args["digest"]),
                *("--model-name", args["service"]),
                *("--host", "127.0.0.1"),
                *("--port", "{port}"),
                *("--device", "cpu"),  # a pool of this target has no other
                *("--threads", str(args["threads"])),
                *limit_flags(args["limits"]),
                *("--compile-cache", COMPILED),
                *("--drain-seconds", str(args["drain_seconds"])),
            ],
            environment={
                "SKERRY_REGION": args["region"],
                "SKERRY_REPLICA": "{name}",
                "OMP_NUM_THREADS": str(args["threads"]),
            },
            replicas=args["replicas"],
            port=args["port"],
            port_setting="target.port",
            ready_path=READY_PATH,
            ready_seconds=args["ready_seconds"],
            stop_seconds=args["drain_seconds"] + STOP_MARGIN_SECONDS,
            balancer={
                "file": endpoints_file(supervisor, args["service"]),
                "cluster": args["service"],
                "admin": admin_socket(supervisor),
            },
            opts=ResourceOptions(parent=self),
        )
        # Known before `up`, so that a preview shows no change of what is not changed, and still after the replicas.
        self.address: Output[str] = self.replicas.urn.apply(lambda _: json.dumps(ports))
        self.register_outputs({"ports": ports})
