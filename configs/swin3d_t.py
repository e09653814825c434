"""The baseline Video Swin-Tiny at 224.

Reproduces: the Video Swin-Tiny baseline of "Towards Activated Muscle Group Estimation in the Wild" (torchvision's
network) on MuscleMap, multi-label. Not yet run on MuscleMap.

    python -m musclemap_jax.main --config=configs/swin3d_t.py --workdir=runs/swin3d_t

From torchvision's weights for Kinetics-400 (except for the head, which is for other classes):

    python -m musclemap_jax.pretrained --source=swin3d_t.pth --arch=swin3d_t --out=weights/swin3d_t
    python -m musclemap_jax.main --config=configs/swin3d_t.py --workdir=runs/swin3d_t \\
        --config.init_from.swin=weights/swin3d_t

The recipe is Video Swin's (arXiv:2106.13230, section 4.1): clips of 32 frames 2 apart, AdamW for 30 epochs, of which
2.5 warm up, 3e-5 for the backbone and 3e-4 for the new head on 64 clips, weight decay 0.02; without dropout before the
head, as in torchvision. The moving average of the parameters is ours.

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("swin",), num_tokens=0, sites="none", fusion="none", head_dropout_rate=0.0)
    config.model.dtype = "float32" if variant else "bfloat16"
    config.input.update(num_frames=32, frame_stride=2.0)
    config.optimizer.update(learning_rate=3e-4, multipliers=(("swin/", 0.1),), warmup_fraction=2.5 / 30)
    config.optimizer.update(weight_decay=0.02, final_fraction=0.0, ema_decay=0.999)
    config.train.update(batch_size=64, num_epochs=30.0)
    return apply_variant(config, variant)
