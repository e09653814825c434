"""Published names of Video Swin's parameters.

Source: the state_dict of torchvision's `swin3d_t`, `swin3d_s` and `swin3d_b`, in which patch merging and the blocks of
a stage are separate entries of one list.
"""

from __future__ import annotations

import re

from musclemap_jax.models.layers.scanned_layers import LayerGroup
from musclemap_jax.models.video.backbones import SWIN
from musclemap_jax.models.video.swin import PAIRS, SwinSpec
from musclemap_jax.pretrained.published import (
    NORM,
    Architecture,
    Names,
    Path,
    Source,
    branch_model,
    named_architecture,
)
from musclemap_jax.pretrained.transforms import COPY, LINEAR, WHOLE_CONVOLUTION

_MLP = {"fc1": "mlp.0", "fc2": "mlp.3"}


def swin_sources(path: Path) -> list[Source]:
    """The published arrays of a parameter of `Swin`; KeyError if there is none."""
    collection, first, *rest = path
    stage = re.fullmatch(r"stage(\d{1,2})", first)
    if not stage:
        if first not in ("patch_embed", "norm"):
            raise KeyError(path)
        return [_source((first, *rest), collection)]
    part = 2 * int(stage[1]) - 2
    pairs = LayerGroup.from_name(rest[0], PAIRS.format(""))
    if pairs is None:
        return [_source((f"features.{part - 1}", *rest), collection)]
    offset = ("plain", "shifted").index(rest[1])
    return [
        _source((f"features.{part}.{2 * pair + offset}", *rest[2:]), collection, pairs.index(pair))
        for pair in pairs.layers
    ]


def _source(path: Path, collection: str, index: tuple[int, ...] = ()) -> Source:
    *modules, leaf = (_MLP.get(part, part) for part in path)
    name = ".".join(modules)
    if leaf == "relative_position_bias_table":
        return f"{name}.{leaf}", COPY, index
    if leaf == "kernel":
        return f"{name}.weight", WHOLE_CONVOLUTION if name == "patch_embed.proj" else LINEAR, index
    return f"{name}.{NORM[collection, leaf]}", COPY, index


SWIN_NAMES = Names(
    swin_sources, "head", ((r"\.relative_position_index$", "index that follows from the size of the windows"),)
)


def published_swin(spec: SwinSpec, name: str) -> Architecture:
    """A Video Swin of torchvision."""
    return named_architecture(name, branch_model(SWIN.name, backbones={SWIN.name: spec}), SWIN_NAMES)
