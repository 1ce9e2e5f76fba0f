"""Ten thousand drawn requests: what the server says, and what stays in its memory."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from bench.claims import Benchmark
from bench.serving.contender import memory
from bench.serving.models import ANY
from tests.workloads.serving.conftest import TEMPLATE, export, export_encoder
from tests.workloads.serving.fuzzing import LEAK, SLACK, asked, fuzz
from workloads.serving.publish import publish

WARM, COUNT, SEED = 1000, 9000, 2026


def measured(folder: Path, warm: int = WARM, count: int = COUNT) -> dict[str, Any]:
    """Ask, and look at the memory after the first `warm` requests and at the end. The model is a tiny one of random
    weights: it is the server that is asked."""
    for left in ("tiny export", "encoder export"):
        shutil.rmtree(folder / left, ignore_errors=True)
    artifact = publish(str(export(folder / "tiny export", TEMPLATE)), "none", str(folder / "tiny"), ANY)
    encoder = publish(str(export_encoder(folder / "encoder export")), "none", str(folder / "encoder"), ANY)
    with asked(artifact, encoder) as server:
        before = server.complete().json()["choices"]
        try:
            statuses = fuzz(server, warm, SEED)
            held = memory(server.process.pid)["pss"]
            statuses += fuzz(server, count, SEED + 1)
        except (AssertionError, httpx.TransportError) as error:
            return {"fault": str(error)}
        grown = memory(server.process.pid)["pss"] - held
        same = server.complete().json()["choices"] == before
    by_status: Counter[int] = Counter()
    for (_, status), times in statuses.items():
        by_status[status] += times
    return {"fault": "", "statuses": by_status, "grown": grown, "allowed": SLACK + count * LEAK, "same": same}


def rows(bench: Benchmark, found: dict[str, Any]) -> None:
    asked = f"{WARM + COUNT:,} drawn requests"
    if found["fault"]:
        bench.claim(f"{asked}: no 5xx and no hang", False, found["fault"].splitlines()[0])
        return
    told = ", ".join(f"{count} x {status}" for status, count in sorted(found["statuses"].items()))
    bench.claim(f"{asked}: no 5xx and no hang", True, told)
    bench.claim(
        f"{asked}: memory stays flat",
        found["grown"] <= found["allowed"],
        f"{found['grown'] / 2**20:+.1f} MiB PSS after the first {WARM:,}, {found['allowed'] / 2**20:.0f} MiB allowed",
    )
    bench.claim(f"{asked}: a usual question is then answered as before", found["same"], "the same text")
