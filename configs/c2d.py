"""The baseline C2D ResNet-50 8x8 at 224.

Reproduces: the C2D ResNet-50 8x8 baseline of "Towards Activated Muscle Group Estimation in the Wild" (PySlowFast's
network) on MuscleMap, multi-label. Not yet run on MuscleMap.

    python -m musclemap_jax.main --config=configs/c2d.py --workdir=runs/c2d

From PySlowFast's weights for Kinetics-400 (except for the head, which is for other classes):

    python -m musclemap_jax.pretrained --source=C2D_8x8_R50_IN1K.pyth --arch=c2d --out=weights/c2d
    python -m musclemap_jax.main --config=configs/c2d.py --workdir=runs/c2d \\
        --config.init_from.c2d=weights/c2d

The recipe is PySlowFast's for Kinetics-400 from random weights: clips of 8 frames 8 apart, dropout 0.5 before the head,
and SGD with Nesterov's momentum, 0.1 for 64 clips along a cosine over 196 epochs, of which 34 warm up from 0.01, weight
decay 1e-4 but none on norms. It computes the batch norms' statistics again before each evaluation, which is left out
here. From published weights, a tenth of the rate for 50 epochs is a start:

    --config.optimizer.learning_rate=0.01 --config.train.num_epochs=50

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("c2d",), num_tokens=0, sites="none", fusion="none")
    config.model.dtype = "float32" if variant else "bfloat16"
    config.input.update(num_frames=8, frame_stride=8.0)
    config.optimizer.update(name="sgd", momentum=0.9, learning_rate=0.1, weight_decay=1e-4, clip_norm=0.0)
    config.optimizer.update(warmup_fraction=34 / 196, initial_fraction=0.1, final_fraction=0.0, cosine_from_start=True)
    config.train.update(batch_size=64, num_epochs=196.0)
    return apply_variant(config, variant)
