"""Variants of every configuration: `synthetic` and `smoke`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import ml_collections

from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.train.optimizer import OptimizerSpec


def _shrink_backbones(config: ml_collections.ConfigDict, variant: str) -> None:
    for backbone in {branch.backbone.name: branch.backbone for branch in BRANCHES.values()}.values():
        config.model.backbones[backbone.name].update(backbone.variants.get(variant, {}))


def synthetic(config: ml_collections.ConfigDict) -> None:
    """Small branches and inputs on the synthetic raw data set: trains on a laptop's CPU in minutes.

    The optimizer is the same for all, AdamW, whatever the recipe of the full size.
    """
    config.data.builder = "synthetic"
    # Strides count at the frame rate of the rendered clips, so a model sees the same seconds of any video.
    config.input.update(num_frames=8, frame_stride=4.0, fps=15.0, crop_size=64, num_poses=32, num_persons=1)
    _shrink_backbones(config, "synthetic")
    config.model.head_dropout_rate = 0.0
    config.input.augmentation.update(crop_area=(0.7, 1.0), erase_probability=0.0)
    config.optimizer.update(dataclasses.asdict(OptimizerSpec(learning_rate=1e-3, ema_decay=0.99)))
    config.train.update(batch_size=32, num_epochs=75.0, eval_every=1000, checkpoint_every=500)
    config.eval.update(batch_size=32, num_views=1)


def smoke(config: ml_collections.ConfigDict) -> None:
    """A few clips, a tiny model and five steps: checks in a minute that everything runs."""
    synthetic(config)
    config.data.builder = "synthetic_smoke"
    config.input.update(num_frames=4, crop_size=32, num_poses=16)
    _shrink_backbones(config, "smoke")
    config.optimizer.learning_rate = 3e-3
    config.train.update(batch_size=8, num_steps=5, log_every=1, eval_every=0, checkpoint_every=2)
    config.eval.update(batch_size=8)


VARIANTS: dict[str, Callable[[ml_collections.ConfigDict], None]] = {
    "": lambda config: None,
    "synthetic": synthetic,
    "smoke": smoke,
}


def apply_variant(config: ml_collections.ConfigDict, variant: str) -> ml_collections.ConfigDict:
    """Turns a configuration into a variant of it.

    Args:
      config: A configuration at the paper's size; changed in place.
      variant: The part after the colon in `--config=FILE:VARIANT`.

    Returns:
      The configuration.

    Raises:
      UserError: Unknown variant.
    """
    if variant not in VARIANTS:
        raise UserError(f"config variant {variant!r}: expected one of {', '.join(map(repr, VARIANTS))}")
    VARIANTS[variant](config)
    return config
