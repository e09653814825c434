"""Scenic's own `vivit_multilabel_classification` by Scenic's trainer on our data: its model, its loss, our clips.

    python -m musclemap_jax.scenic_bridge --config=configs/scenic/vivit_multilabel.py:smoke --workdir=runs/scenic_vivit

Data, order and augmentation are those of configs/mvitv2_s.py, frames lie in [-1, 1]. Our evaluator does not read this
run, since the model is Scenic's; configs/scenic/vivit_branch.py trains the same network in ours. Variants: `:smoke`;
without one ViViT-B/16x2 for 10,000 steps. Not yet run at full size.
"""

import ml_collections

from musclemap_jax.scenic_bridge.config import VIDEO, scenic_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = scenic_config(f"mvitv2_s:{variant}", 0 if variant else 10_000)
    config.dataset_configs.inputs = VIDEO
    config.dataset_configs.experiment.eval.num_views = 1
    small = variant == "smoke"
    if not small:
        config.dataset_configs.experiment.input.update(num_frames=32, frame_stride=2.0)
    del config.optimizer_configs["mask"]  # our names of parameters
    config.optimizer_configs.skip_scale_and_bias_regularization = True
    config.model_name = "vivit_multilabel_classification"
    encoder = {"num_heads": 4 if small else 12, "mlp_dim": 128 if small else 3072}
    config.model = ml_collections.ConfigDict(
        {
            "hidden_size": 64 if small else 768,
            "patches": {"size": (8, 8, 2) if small else (16, 16, 2)},
            "attention_config": {"type": "factorized_encoder"},
            "spatial_transformer": encoder | {"num_layers": 2 if small else 12},
            "temporal_transformer": encoder | {"num_layers": 2 if small else 4},
            "representation_size": None,
            "classifier": "token",
            "dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "temporal_encoding_config": {"method": "3d_conv", "kernel_init_method": "central_frame_initializer"},
        }
    )
    return config
