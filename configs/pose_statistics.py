"""A skeleton branch alone, for little data and new activities: statistics of poses, by limbs and in windows of time.

Ours (`musclemap_jax/models/skeleton/pose_statistics.py`), not the paper's, and not yet run on MuscleMap. On rendered
clips it trains in three minutes on two cores; docs/results.md has what it reached.

    python -m musclemap_jax.main --config=configs/pose_statistics.py --workdir=runs/pose_statistics

configs/transm3e_plus.py puts it beside a video branch.

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("pose_statistics",), sites="none", fusion="by_region")
    config.model.backbones.pose_statistics.update(width=256, num_windows=4)
    config.train.update(batch_size=64, num_epochs=50.0)
    apply_variant(config, variant)
    config.model.head_dropout_rate = 0.0
    config.optimizer.update(learning_rate=3e-3, weight_decay=0.1, ema_decay=0.99)
    config.train.mixing.mixup_alpha = 0.4
    return config
