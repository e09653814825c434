"""TransM3E on other branches: Video Swin-Tiny and CTR-GCN with class tokens, mutual distillation and fusion.

Ours: the paper builds it on MViTv2 and HD-GCN (configs/transm3e.py). Any video branch and any skeleton branch go
together in this way. Not yet run on MuscleMap.

    python -m musclemap_jax.main --config=configs/transm3e_swin_ctrgcn.py --workdir=runs/transm3e_swin_ctrgcn

In two stages, from configs/swin3d_t.py and configs/ctrgcn.py, add `--config.init_from.swin=runs/swin3d_t` and
`--config.init_from.ctrgcn=runs/ctrgcn`; class tokens, fusion and distillation start from random values.

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant

LAYOUT = "coco17"


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.branches = ("swin", "ctrgcn")
    config.model.backbones.ctrgcn.layout = config.input.layout = LAYOUT
    config.input.update(num_frames=32, frame_stride=2.0, num_poses=100)
    config.model.dtype = "float32" if variant else "bfloat16"
    config.optimizer.update(learning_rate=1e-4, weight_decay=0.05, ema_decay=0.999)
    config.train.update(batch_size=64, num_epochs=50.0)
    return apply_variant(config, variant)
