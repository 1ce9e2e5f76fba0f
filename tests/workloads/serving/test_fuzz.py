"""Whatever is asked, the server answers, and is afterwards what it was before."""

from typing import Any

from bench.serving.contender import memory
from tests.workloads.serving.fuzzing import FLAGS, LEAK, SLACK, fuzz
from tests.workloads.serving.serving import running

WARM, COUNT, SEED = 100, 400, 2026


def test_no_drawn_request_is_answered_with_a_5xx_or_leaves_anything_behind(tiny_chat: dict[str, Any]) -> None:
    with running(tiny_chat, *FLAGS) as server:
        before = server.complete().json()["choices"]
        fuzz(server, WARM, SEED)
        held = memory(server.process.pid)["pss"]
        statuses = fuzz(server, COUNT, SEED + 1)
        assert memory(server.process.pid)["pss"] - held <= SLACK + COUNT * LEAK
        assert server.complete().json()["choices"] == before
        assert server.metric("skerry_requests_running") == server.metric("skerry_requests_waiting") == 0
    assert statuses.total() >= COUNT
    assert statuses[200] >= COUNT / 40, "some of them should be right by chance"
    assert statuses[400] >= COUNT / 5, "many of them should be wrong"
