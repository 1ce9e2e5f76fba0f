"""vLLM's metrics: its own text beside ours, and what our metrics read of it as of any engine (metrics.Numbers)."""

from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

from workloads.serving.terms import Counts

PREFIX = "vllm:"
COUNTS = {
    "prompt_tokens": "vllm:prompt_tokens_total",
    "prefix_tokens": "vllm:prompt_tokens_cached_total",
    "generated_tokens": "vllm:generation_tokens_total",
}
"""Field of Counts -> vLLM's name. It does not count passes."""


class Figures:
    """The numbers of vLLM as it last told them; nought before."""

    def __init__(self) -> None:
        self._found: dict[str, float] = defaultdict(float)
        self._blocks = self._block_tokens = 0

    def hear(self, said: str) -> str:
        """Take in vLLM's metrics, in Prometheus form; returns those that only vLLM can have, in the same form.

        What is no metrics, a page of an error, changes nothing and holds none.
        """
        try:
            families = list(text_string_to_metric_families(said))
        except ValueError:
            return ""
        found: dict[str, float] = defaultdict(float)
        for family in families:
            for sample in family.samples:
                found[sample.name] += sample.value
                shape = [sample.labels.get(label, "") for label in ("num_gpu_blocks", "block_size")]
                if all(map(str.isdecimal, shape)):
                    self._blocks, self._block_tokens = map(int, shape)
        self._found = found
        lines = said.splitlines(keepends=True)
        return "".join(
            line for line in lines if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(PREFIX)
        )

    def waiting(self) -> int:
        return int(self._found["vllm:num_requests_waiting"])

    def running(self) -> int:
        return int(self._found["vllm:num_requests_running"])

    def cache_usage(self) -> float:
        return self._found["vllm:kv_cache_usage_perc"]

    def cache_blocks(self) -> int:
        return self._blocks

    def block_tokens(self) -> int:
        return self._block_tokens

    def counts(self) -> Counts:
        return Counts(**{field: int(self._found[name]) for field, name in COUNTS.items()})
