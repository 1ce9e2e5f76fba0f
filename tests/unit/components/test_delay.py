"""Delays take part in the engine's order, by a provider of their own."""

from __future__ import annotations

import pulumi
from pulumi import ResourceOptions

from components.delay import Delay, delay_provider
from tests.recorder import Recording, record


class Waiting(pulumi.ComponentResource):
    """Something that waits for a delay of two minutes."""

    def __init__(self, name: str, opts: ResourceOptions) -> None:
        super().__init__("skerry:index:Waiting", name, {}, opts)
        mine = ResourceOptions(parent=self)
        grant = pulumi.CustomResource("test:index:Grant", "grant", {}, mine)
        self.delay = Delay("delay", 120, {"grant": grant.id}, mine)
        self.user = pulumi.CustomResource("test:index:User", "user", {"after": self.delay.id}, mine)
        self.register_outputs({})


def recorded() -> Recording:
    providers = {"time": "time", "test": "test"}

    def program() -> None:
        made = [delay_provider("delays"), pulumi.ProviderResource(providers["test"], "others", {})]
        Waiting("it", ResourceOptions(providers=made))

    return record(program, {})


def test_a_delay_waits_after_what_it_is_given_and_again_when_that_changes() -> None:
    delay = recorded().one("Sleep")
    assert delay.kind == "time:index/sleep:Sleep"
    assert delay.inputs == {"createDuration": "120s", "triggers": {"grant": "grant-id"}}
    assert {urn.rpartition("::")[2] for urn in delay.dependencies} == {"grant"}


def test_what_uses_a_delays_id_waits_for_its_end() -> None:
    assert {urn.rpartition("::")[2] for urn in recorded().one("User").dependencies} == {"delay"}


def test_a_delay_is_made_by_the_provider_that_comes_with_its_parent() -> None:
    recording = recorded()
    assert recording.provider_of(recording.one("Sleep")).name == "delays"
