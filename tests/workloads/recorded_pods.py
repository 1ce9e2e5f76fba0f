"""The pods of a recorded stack, each of which reaches an object store under the permissions that the stack declares."""

import pytest

from tests.workloads.object_stores import Front, ObjectStore
from tests.workloads.permissions import JUDGES, Check, declared, judge


class Pods:
    """The pods of the recorded stack, each of which reaches the store as its own identity."""

    def __init__(self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.monkeypatch = store, monkeypatch
        self.fronts: list[Front] = []
        stack = declared(JUDGES[store.scheme][0])
        self.of = {pod["identity"]: pod["uris"] for pod in stack["pods"]}
        self.checks: dict[str, list[str]] = stack["checks"]

    def become(self, work: str, region: str = "") -> dict[str, str]:
        """From now on requests are judged as those of a workload such as `publish`; its addresses."""
        return self.of[self.act_as(work, region)]

    def act_as(self, work: str, region: str = "") -> str:
        [identity] = [name for name in self.of if f"-{work}-" in name and name.startswith(region)]
        front = Front(self.store, judge=judge(self.store.scheme, identity))
        self.fronts.append(front)
        for name, value in front.environment.items():
            self.monkeypatch.setenv(name, value)
        return identity

    def refused(self) -> list[Check]:
        return [check for front in self.fronts for check in front.refused]

    def stop(self) -> None:
        for front in self.fronts:
            front.shutdown()
            front.server_close()
