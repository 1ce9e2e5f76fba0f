"""What holds for every test: none depends on the machine's speed."""

from hypothesis import HealthCheck, settings

# Hypothesis would fail a test whose one example takes 200 ms, or whose examples are drawn slowly.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")
