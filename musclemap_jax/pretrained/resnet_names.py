"""Published names of the parameters and statistics of C2D, I3D, Slow and SlowFast.

Source: the state_dicts of PySlowFast (`slowfast/models/{stem_helper,resnet_helper,video_model_builder}.py`).
"""

from __future__ import annotations

import re

from musclemap_jax.models.layers.scanned_layers import LayerGroup
from musclemap_jax.models.video.backbones import C2D, I3D, SLOW, SLOWFAST
from musclemap_jax.pretrained.published import (
    NORM,
    Architecture,
    Names,
    Path,
    Source,
    branch_model,
    named_architecture,
)
from musclemap_jax.pretrained.transforms import COPY, WHOLE_CONVOLUTION

BACKBONES = {backbone.name: backbone for backbone in (C2D, I3D, SLOW, SLOWFAST)}


def resnet_sources(path: Path) -> list[Source]:
    """The published arrays of a variable of `ResNet`; KeyError if there is none."""
    collection, first, *rest = path
    stem = re.fullmatch(r"stem([01])", first)
    if stem:
        return [_source(f"s1.pathway{stem[1]}_stem", rest, collection)]
    if not re.fullmatch(r"s\d(_fuse)?", first):
        raise KeyError(path)
    if first.endswith("_fuse"):
        return [_source(first, rest, collection)]
    prefix = rest[0][: len("pathway0_res")]
    group = LayerGroup.from_name(rest[0], prefix)
    if group is None:
        raise KeyError(path)
    branch = "" if rest[1].startswith("branch1") else ".branch2"
    return [
        _source(f"{first}.{prefix}{block}{branch}", rest[1:], collection, group.index(block)) for block in group.layers
    ]


def _source(prefix: str, rest: list[str], collection: str, index: tuple[int, ...] = ()) -> Source:
    *modules, leaf = rest
    name = ".".join([prefix, *modules])
    if leaf == "kernel":
        return f"{name}.weight", WHOLE_CONVOLUTION, index
    return f"{name}.{NORM[collection, leaf]}", COPY, index


RESNET_NAMES = Names(resnet_sources, "head.projection")


def published_resnet(backbone: str, name: str) -> Architecture:
    """A convolutional network of PySlowFast, such as `c2d`."""
    spec = BACKBONES[backbone].default
    return named_architecture(name, branch_model(backbone, backbones={backbone: spec}), RESNET_NAMES)
