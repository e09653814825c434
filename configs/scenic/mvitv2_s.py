"""The video branch alone (MViTv2-S) by Scenic's trainer: configs/mvitv2_s.py, translated (docs/scenic.md).

    python -m musclemap_jax.scenic_bridge --config=configs/scenic/mvitv2_s.py:smoke --workdir=runs/scenic

Starts from the same parameters as our own trainer, sees the same batches, and without dropout has the same losses.
Variants: `:synthetic` (1,519 steps, 75 epochs of the rendered clips) and `:smoke`; without one 10,000 steps. Set
NUM_STEPS for your data: epochs times clips over the batch size. Not yet run at full size.
"""

import ml_collections

from musclemap_jax.scenic_bridge.config import scenic_config

NUM_STEPS = {"": 10_000, "synthetic": 1519}


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    return scenic_config(f"mvitv2_s:{variant}", NUM_STEPS.get(variant, 0))
