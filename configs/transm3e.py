"""TransM3E: MViTv2-S 16x4 at 224 and HD-GCN with class tokens, mutual distillation and fusion.

Reproduces: the model of "Towards Activated Muscle Group Estimation in the Wild" on MuscleMap, as far as it is
published (the skeleton branch's tokens are our definition). Not yet run on MuscleMap.

    python -m musclemap_jax.main --config=configs/transm3e.py --workdir=runs/transm3e

In two stages, as in the paper: first each branch alone, then the whole model, initialised from both:

    python -m musclemap_jax.main --config=configs/mvitv2_s.py --workdir=runs/mvitv2_s
    python -m musclemap_jax.main --config=configs/hdgcn.py --workdir=runs/hdgcn
    python -m musclemap_jax.main --config=configs/transm3e.py --workdir=runs/transm3e \\
        --config.init_from.video=runs/mvitv2_s --config.init_from.skeleton=runs/hdgcn

Class tokens, fusion and distillation start from random values in the second stage, all else from the first.

Variants:
    :synthetic  small branches on the synthetic raw data set; the README has its time and metrics. From random weights a
                video branch learns far sooner from RGB difference than from RGB (docs/results.md), so it takes that.
    :smoke      five steps, to check that everything runs.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.dtype = "float32" if variant else "bfloat16"
    config.optimizer.update(learning_rate=1e-4, weight_decay=0.05, ema_decay=0.999)
    config.train.update(batch_size=64, num_epochs=50.0)
    if variant == "synthetic":
        config.model.branches = ("rgb_diff", "skeleton")
    return apply_variant(config, variant)
