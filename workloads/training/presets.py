"""Named shapes: what `--preset` starts from; every single flag still overrides its field.

`tiny` learns on two cores within seconds. `124m` and `1b5` have the depth and width of GPT-2's smallest and largest
model in Llama's layout. Their vocabulary is GPT-2's 50,257 ids, padded to a multiple of 128 so that the tiles of the
last product are full.
"""

from workloads.training.model import ModelConfig

PRESETS = {
    "tiny": ModelConfig(),
    "124m": ModelConfig(
        width=768,
        layers=12,
        heads=12,
        key_value_heads=12,
        hidden=2048,  # 8/3 of the width
        context=1024,
        vocabulary=50_304,
    ),
    "1b5": ModelConfig(
        width=2048,
        layers=28,
        heads=16,  # 128 values a head: the largest that the fused attention kernels serve at full speed
        key_value_heads=16,
        hidden=5504,  # 8/3 of the width, rounded up to a multiple of 128
        context=2048,
        vocabulary=50_304,
    ),
}

PARAMETERS = {"tiny": 426_752, "124m": 123_587_328, "1b5": 1_519_765_504}
"""Trainable values of each preset, a tied matrix counted once."""
