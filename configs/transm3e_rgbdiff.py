"""The released TransM3E: an MViTv2 on RGB, taught after every block by a frozen MViTv2 on RGB difference, and fused.

Reproduces: the code that the authors released (github.com/KPeng9510/MuscleMap), whose numbers it equals; the paper's
skeleton branch is in configs/transm3e.py. Not yet run on MuscleMap. The frozen teacher has to be imported or trained
before (`--config.init_from.rgb_diff=FOLDER`).

    python -m musclemap_jax.main --config=configs/transm3e_rgbdiff.py --workdir=runs/transm3e_rgbdiff \\
        --config.init_from.rgb_diff=FOLDER

From a checkpoint of the released code, student and teacher together:

    python -m musclemap_jax.pretrained --source=CHECKPOINT.pyth --arch=musclemap_s --out=weights/musclemap_s
    python -m musclemap_jax.main --config=configs/transm3e_rgbdiff.py --workdir=runs/transm3e_rgbdiff \\
        --config.init_from.model=weights/musclemap_s

The released code divides the sum over its 16 blocks by 16: at another depth its weight is 0.9 * depth / 16.

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(
        branches=("video", "rgb_diff"),
        second_branch_weight=0.0,
        second_branch_frozen=True,
        directions="to_video",
        kd_projection=False,
        released_reshape=True,
        dtype="float32" if variant else "bfloat16",
    )
    config.loss.update(kind="softmax_bce", branch_weight=0.0, kd_weight=0.9, kd_reduction="released")
    config.optimizer.update(learning_rate=1e-4, weight_decay=0.05)
    config.train.update(batch_size=64, num_epochs=50.0)
    return apply_variant(config, variant)
