"""What a variant of the loop does not do, it refuses."""

import pytest

from workloads.training.flags import ConfigError
from workloads.training.variants.loop import loop
from workloads.training.workers import Workers


def test_a_variant_refuses_settings_that_it_would_not_honour() -> None:
    asked = ["--checkpoints=out/checkpoints", "--parallel=fsdp", "--steps=1"]
    with pytest.raises(ConfigError, match="checkpoints, parallel: not here; leave out, or run workloads"):
        loop(asked, Workers(0, 0, 1), lambda model, *_: model, lambda loss: loss)
