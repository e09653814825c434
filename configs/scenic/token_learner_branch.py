"""Scenic's TokenLearner (ViT-B/16 over tubelets) as the video branch, trained and evaluated by our own program.

    python -m musclemap_jax.main --config=configs/scenic/token_learner_branch.py:smoke --workdir=runs/token_learner

`--config` stays necessary when the run is evaluated, since it enters the branch. Variants: `:synthetic` and `:smoke`.
Not yet run at full size. Needs Scenic.
"""

import ml_collections

import musclemap_jax.scenic_bridge.token_learner  # noqa: F401  (enters the branch)
from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("token_learner",), num_tokens=0, sites="none", fusion="none")
    config.model.dtype = "float32" if variant else "bfloat16"
    config.input.update(num_frames=32, frame_stride=2.0)
    config.optimizer.update(learning_rate=1e-4, weight_decay=0.05, ema_decay=0.999)
    config.train.update(batch_size=64, num_epochs=50.0)
    apply_variant(config, variant)
    small = {"patch_size": (2, 8, 8), "width": 64, "num_heads": 4, "mlp_dim": 128, "num_learned": 4}
    if variant == "synthetic":
        config.model.backbones.token_learner.update(input_size=(8, 64, 64), num_layers=4, learned_from=1, **small)
    if variant == "smoke":
        config.model.backbones.token_learner.update(input_size=(4, 32, 32), num_layers=2, learned_from=1, **small)
    return config
