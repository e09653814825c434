"""The baseline CTR-GCN, on skeletons alone, multi-label.

Reproduces: the CTR-GCN baseline of "Towards Activated Muscle Group Estimation in the Wild" (pyskl's network), joint
stream, on MuscleMap's skeletons. Not yet run on MuscleMap.

    python -m musclemap_jax.main --config=configs/ctrgcn.py --workdir=runs/ctrgcn

The skeletons have pyskl's layout `coco17`, so its weights for 2D poses fit as they are (docs/weights.md):

    python -m musclemap_jax.pretrained --source=ctrgcn.pth --arch=ctrgcn_pyskl --out=weights/ctrgcn
    python -m musclemap_jax.main --config=configs/ctrgcn.py --workdir=runs/ctrgcn \\
        --config.init_from.ctrgcn=weights/ctrgcn

The recipe is pyskl's: clips of 100 poses, no dropout, and SGD with Nesterov's momentum, 0.1 for 128 clips along a
cosine over 80 epochs without warm-up, weight decay 5e-4 on all parameters.

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant

LAYOUT = "coco17"


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("ctrgcn",), num_tokens=0, sites="none", fusion="none", head_dropout_rate=0.0)
    config.model.backbones.ctrgcn.layout = config.input.layout = LAYOUT
    config.input.num_poses = 100
    config.optimizer.update(name="sgd", momentum=0.9, learning_rate=0.1, warmup_fraction=0.0, final_fraction=0.0)
    config.optimizer.update(weight_decay=5e-4, decay_all=True, clip_norm=0.0)
    config.train.update(batch_size=128, num_epochs=80.0)
    return apply_variant(config, variant)
