"""The released TransM3E: MViTv2 on RGB with MCTF, taught after every block by a frozen MViTv2 on RGB difference.

Reproduces: the code that the authors released (github.com/KPeng9510/MuscleMap), with equal numbers; the paper's
skeleton branch is in configs/transm3e.py. Not yet run on MuscleMap. Train or import the frozen teacher first:

    python -m musclemap_jax.main --config=configs/transm3e_rgbdiff.py --workdir=runs/transm3e_rgbdiff \\
        --config.init_from.rgb_diff=FOLDER

From a checkpoint of the released code, student and teacher together:

    python -m musclemap_jax.pretrained --source=CHECKPOINT.pyth --arch=musclemap_s --out=weights/musclemap_s
    python -m musclemap_jax.main --config=configs/transm3e_rgbdiff.py --workdir=runs/transm3e_rgbdiff \\
        --config.init_from.model=weights/musclemap_s

The released code divides the sum over its blocks by 16, whatever the depth: at another depth, its distillation weight
is 0.9 * depth / 16.

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant
from musclemap_jax.models.transm3e import RELEASED


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(**RELEASED, dtype="float32" if variant else "bfloat16")
    config.loss.update(kind="softmax_bce", branch_weight=0.0, kd_weight=0.9, kd_reduction="released")
    config.optimizer.update(learning_rate=1e-4, weight_decay=0.05)
    config.train.update(batch_size=64, num_epochs=50.0)
    return apply_variant(config, variant)
