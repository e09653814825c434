"""The baseline SlowFast ResNet-50 8x8 at 224.

Reproduces: the SlowFast ResNet-50 8x8 baseline of "Towards Activated Muscle Group Estimation in the Wild"
(PySlowFast's network) on MuscleMap, multi-label. Not yet run on MuscleMap.

    python -m musclemap_jax.main --config=configs/slowfast.py --workdir=runs/slowfast

From PySlowFast's weights for Kinetics-400 (except for the head, which is for other classes):

    python -m musclemap_jax.pretrained --source=SLOWFAST_8x8_R50.pyth --arch=slowfast --out=weights/slowfast
    python -m musclemap_jax.main --config=configs/slowfast.py --workdir=runs/slowfast \\
        --config.init_from.slowfast=weights/slowfast

PySlowFast trains by SGD (momentum 0.9, rate 0.1 for 64 clips, weight decay 1e-4 but none on norms, 196 epochs, 34 of
them warm-up); the optimizer here is AdamW. Its clips, 32 frames 2 apart, of which the slow pathway sees 8, and
dropout 0.5 before the head are kept.

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("slowfast",), num_tokens=0, sites="none", fusion="none")
    config.model.dtype = "float32" if variant else "bfloat16"
    config.input.update(num_frames=32, frame_stride=2.0)
    config.optimizer.update(learning_rate=1e-4, weight_decay=0.05, ema_decay=0.999)
    config.train.update(batch_size=64, num_epochs=50.0)
    return apply_variant(config, variant)
