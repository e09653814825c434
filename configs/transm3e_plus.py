"""TransM3E with another skeleton branch: what we find better than the paper's model for new activities.

Not the paper's method and not yet run on MuscleMap. On rendered clips (docs/results.md):

- the skeleton branch reads statistics of the poses and of biomechanical channels, over the clip and over windows of it,
  each muscle region of the limbs that its muscles move or hold (`models/skeleton/pose_statistics.py`), instead of
  HD-GCN;
- fusion `by_region` keeps a region's class tokens apart up to its logit;
- the skeleton branch teaches the video branch, not the other way round;
- mixup, of images and of the statistics, and a learning rate of its own for the skeleton branch.

    python -m musclemap_jax.main --config=configs/transm3e_plus.py --workdir=runs/transm3e_plus

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import runpy
from pathlib import Path

import ml_collections

STATISTICS_LEARNING_RATE = 3e-3


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("transm3e.py")))["get_config"](variant)
    video = config.model.branches[0]
    config.model.update(branches=(video, "pose_statistics"), fusion="by_region", directions=f"to_{video}")
    config.model.backbones.pose_statistics.num_windows = 4
    if variant != "smoke":
        config.model.backbones.pose_statistics.width = 256
    config.train.mixing.mixup_alpha = 0.4
    faster = STATISTICS_LEARNING_RATE / config.optimizer.learning_rate
    config.optimizer.multipliers = (("pose_statistics/", faster), ("head_pose_statistics/", faster))
    return config
