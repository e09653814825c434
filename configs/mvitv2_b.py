"""The video branch alone: MViTv2-B 32x3 at 224 with its one class token, multi-label.

Reproduces: the MViTv2-B baseline of "Towards Activated Muscle Group Estimation in the Wild". Not yet run on MuscleMap.

    python -m musclemap_jax.main --config=configs/mvitv2_b.py --workdir=runs/mvitv2_b

From published weights, such as PySlowFast's for Kinetics-400 (except for the head, which is for other classes):

    python -m musclemap_jax.pretrained --source=MViTv2_B_32x3_k400.pyth --arch=mvitv2_b --out=weights/mvitv2_b
    python -m musclemap_jax.main --config=configs/mvitv2_b.py --workdir=runs/mvitv2_b \\
        --config.init_from.video=weights/mvitv2_b

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import dataclasses

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant
from musclemap_jax.models.video.mvit import MVITV2_B


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("video",), num_tokens=0, sites="none", fusion="none")
    config.model.backbones.mvit.update(dataclasses.asdict(MVITV2_B))
    config.input.update(num_frames=32, frame_stride=3.0)
    config.model.dtype = "float32" if variant else "bfloat16"
    config.optimizer.update(learning_rate=1e-4, weight_decay=0.05, ema_decay=0.999)
    config.train.update(batch_size=64, num_epochs=50.0)
    return apply_variant(config, variant)
