"""The skeleton branch alone: HD-GCN with pooled features, multi-label.

Reproduces: HD-GCN (Lee et al., ICCV 2023), joint stream, on MuscleMap's skeletons. Not yet run on MuscleMap.

    python -m musclemap_jax.main --config=configs/hdgcn.py --workdir=runs/hdgcn

From published weights for NTU RGB+D, by the names of the joints (docs/weights.md):

    python -m musclemap_jax.pretrained --source=hdgcn.pt --arch=hdgcn --layout=coco19 --out=weights/hdgcn
    python -m musclemap_jax.main --config=configs/hdgcn.py --workdir=runs/hdgcn \\
        --config.init_from.skeleton=weights/hdgcn

configs/transm3e.py can start its skeleton branch from the workdir. Other input streams (docs/skeleton_streams.md):

    --config.model.backbones.hdgcn.streams="('joint','bone','motion','biomechanics')"

Variants: `:synthetic` and `:smoke`, as in configs/transm3e.py.
"""

import ml_collections

from musclemap_jax.experiment.config import default_config
from musclemap_jax.experiment.variants import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.update(branches=("skeleton",), num_tokens=0, sites="none", fusion="none")
    config.optimizer.update(learning_rate=1e-3, weight_decay=0.05, ema_decay=0.999)
    config.train.update(batch_size=64, num_epochs=50.0)
    return apply_variant(config, variant)
