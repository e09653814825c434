"""TransM3E with another distillation: the model of configs/transm3e.py, another objective.

Not the paper's method, not yet run on MuscleMap and not yet compared on rendered clips. As published, the terms of the
distillation are a thousandth of the loss: small tokens divided by tau = 10 give nearly uniform distributions on both
sides. Here

- tokens are normalised first and compared over their channels with tau = 2, as logit standardisation does for logits
  (Sun et al., 2024); so the term neither vanishes nor grows with the tokens' length. Its weight is 0.1: with 0.9, the
  gradient is distillation's alone (`config.train.kd_gradient_every`);
- it starts at 30 % of the run and reaches its weight at 40 %: until then a branch has little to teach.

    python -m musclemap_jax.main --config=configs/transm3e_plus.py --workdir=runs/transm3e_plus

docs/training.md has all settings. Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import runpy
from pathlib import Path

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("transm3e.py")))["get_config"](variant)
    config.loss.update(kd_weight=0.1, kd_normalization="layer", kd_axis="channel", kd_tau=2.0)
    config.loss.update(kd_start_fraction=0.3, kd_warmup_fraction=0.1)
    return config
