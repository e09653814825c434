"""Imports Scenic's published checkpoints of ViViT with the factorised encoder, for a configuration's `init_from.vivit`.

    python -m musclemap_jax.scenic_bridge.published --source=checkpoint --arch=vivit_b --out=weights/vivit

The command is that of `musclemap_jax.pretrained`, with `--arch` vivit_b (Kinetics-400) and vivit_l. Position embeddings
are interpolated to another `--input_size`. Importing this module enters both architectures. Needs Scenic.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Callable

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained import __main__ as command
from musclemap_jax.pretrained.architectures import ARCHITECTURES
from musclemap_jax.pretrained.published import (
    HEAD_RULE,
    NO_HEAD_RULE,
    Architecture,
    Entry,
    Path,
    branch_model,
    model_shapes,
)
from musclemap_jax.pretrained.transforms import COPY, TOKENS, Shape, Transform, resize_axis
from musclemap_jax.scenic_bridge.tubelets import Triple
from musclemap_jax.scenic_bridge.vivit import VIVIT, ViViTSpec

TOKEN_RULE = "another number of class tokens"

VIVIT_B = ViViTSpec()
VIVIT_L = ViViTSpec(width=1024, num_heads=16, mlp_dim=4096, spatial_layers=24, temporal_layers=24)


def _resized(positions: np.ndarray, grid: tuple[int, ...], new_grid: tuple[int, ...]) -> np.ndarray:
    """Positions (1, 1 + cells, D) on another grid: the class token's stays, the others are interpolated linearly."""
    token, cells = positions[:, :1], positions[0, 1:].reshape(*grid, -1)
    for axis, size in enumerate(new_grid):
        cells = resize_axis(cells, axis, size)
    return np.concatenate([token, cells.reshape(1, -1, cells.shape[-1])], axis=1)


def _square(shape: Shape) -> tuple[int, int]:
    """Sides of the grid of a spatial encoder's positions."""
    side = math.isqrt(shape[1] - 1)
    return side, side


def _positions(name: str, grid: Callable[[Shape], tuple[int, ...]]) -> Transform:
    return Transform(
        f"positions {name}",
        lambda source, shape: (
            len(source) == 3
            and (source[0], source[2]) == (shape[0], shape[2])
            and math.prod(grid(source)) == source[1] - 1
        ),
        lambda array, shape: _resized(array, grid(array.shape), grid(shape)),
        change=lambda source, shape: "" if source == shape else "interpolated",
    )


SPATIAL = _positions("in a frame", _square)
TEMPORAL = _positions("in time", lambda shape: (shape[1] - 1,))


def _entry(path: Path) -> Entry:
    """The published array of one of ours; paths are Scenic's below the branch, the head is its `output_projection`."""
    _, part, *rest = path
    if part.startswith("head_"):
        return Entry(f"output_projection.{rest[0]}", path, COPY, misfit=HEAD_RULE, absent=NO_HEAD_RULE)
    if rest[0] == "class_tokens":
        source = "cls_TemporalTransformer" if rest[1] == "classification" else ".".join(rest)
        return Entry(source, path, TOKENS, misfit=TOKEN_RULE, absent=TOKEN_RULE)
    positions = {"SpatialTransformer": SPATIAL, "TemporalTransformer": TEMPORAL}
    transform = positions[rest[0]] if rest[-1] == "pos_embedding" else COPY
    return Entry(".".join(rest), path, transform)


def published_vivit(
    spec: ViViTSpec, name: str, *, num_tokens: int | None = None, input_size: Triple | None = None
) -> Architecture:
    """A published ViViT with the factorised encoder.

    Args:
      spec: Its architecture.
      name: Its name.
      num_tokens: Class tokens of our model; None for the published one.
      input_size: Frames, height and width of our clips; None for the published ones.

    Raises:
      UserError: An impossible option, or Scenic is not installed.
    """
    if num_tokens is not None and num_tokens < 1:
        raise UserError(f"num_tokens: expected at least 1, got {num_tokens}: leave it out for the published number")
    if input_size is not None:
        spec = dataclasses.replace(spec, input_size=input_size)
    model = branch_model("vivit", num_tokens or 0, backbones={VIVIT.name: spec})
    shapes = model_shapes(model)
    return Architecture(name, model, shapes, tuple(map(_entry, shapes)))


ARCHITECTURES["vivit_b"] = functools.partial(published_vivit, VIVIT_B)
ARCHITECTURES["vivit_l"] = functools.partial(published_vivit, VIVIT_L)


if __name__ == "__main__":
    sys.exit(command.main())
