"""Whatever is asked, the server answers, and is afterwards what it was before."""

from pathlib import Path
from typing import Any

from bench.serving.contender import memory
from tests.workloads.serving.conftest import QUICK, export_encoder
from tests.workloads.serving.fuzzing import LEAK, RIGHT, SLACK, asked, fuzz
from workloads.serving.publish import publish

WARM, COUNT, SEED = 100, 400, 2026


def test_no_drawn_request_is_answered_with_a_5xx_or_leaves_anything_behind(
    tiny_chat: dict[str, Any], tmp_path: Path
) -> None:
    encoder = publish(str(export_encoder(tmp_path / "export")), "none", str(tmp_path / "encoder"), QUICK)
    with asked(tiny_chat, encoder) as server:
        before = server.complete().json()["choices"]
        statuses = fuzz(server, WARM, SEED)
        held = memory(server.process.pid)["anonymous"]
        statuses += fuzz(server, COUNT, SEED + 1)
        assert memory(server.process.pid)["anonymous"] - held <= SLACK + COUNT * LEAK
        assert server.complete().json()["choices"] == before
        assert server.metric("skerry_requests_running") == server.metric("skerry_requests_waiting") == 0
    assert statuses.total() >= COUNT
    for path in RIGHT:
        assert statuses[path, 200] >= COUNT / 50, f"some of {path} should be right by chance"
        assert statuses[path, 400] >= COUNT / 50, f"many of {path} should be wrong"
