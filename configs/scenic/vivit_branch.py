"""Scenic's ViViT-B/16x2 with the factorised encoder as the video branch, trained and evaluated by our own program.

    python -m musclemap_jax.main --config=configs/scenic/vivit_branch.py:smoke --workdir=runs/vivit

From Scenic's published weights, such as ViViT-B/16x2 FE for Kinetics-400 (except for the head, which is for other
classes); `--config` stays necessary when the run is evaluated, since it enters the branch:

    python -m musclemap_jax.scenic_bridge.published --source=checkpoint --arch=vivit_b --out=weights/vivit
    python -m musclemap_jax.main --config=configs/scenic/vivit_branch.py --workdir=runs/vivit \\
        --config.init_from.vivit=weights/vivit

With skeletons and distillation, `--config.model.branches="('vivit', 'skeleton')"` and `num_tokens`, `sites` and
`fusion` as in configs/transm3e.py. Variants: `:synthetic` and `:smoke`. Not yet run at full size. Needs Scenic.
"""

import ml_collections

import musclemap_jax.scenic_bridge.vivit  # noqa: F401  (enters the branch)
from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("vivit",), num_tokens=0, sites="none", fusion="none")
    config.model.dtype = "float32" if variant else "bfloat16"
    config.input.update(num_frames=32, frame_stride=2.0)
    config.optimizer.update(learning_rate=1e-4, weight_decay=0.05, ema_decay=0.999)
    config.train.update(batch_size=64, num_epochs=50.0)
    apply_variant(config, variant)
    small = {"patch_size": (2, 8, 8), "width": 64, "num_heads": 4, "mlp_dim": 128}
    if variant == "synthetic":
        config.model.backbones.vivit.update(input_size=(8, 64, 64), spatial_layers=4, temporal_layers=2, **small)
    if variant == "smoke":
        config.model.backbones.vivit.update(input_size=(4, 32, 32), spatial_layers=2, temporal_layers=2, **small)
    return config
