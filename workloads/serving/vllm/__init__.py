"""Engine `vllm`: vLLM in a process of its own, behind our front (docs/decisions/0020)."""
