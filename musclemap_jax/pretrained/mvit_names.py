"""Published names of MViTv2's parameters, and of the released TransM3E, which consists of two of them.

Sources: the state_dicts of PySlowFast's MViT (`slowfast/models/{attention,video_model_builder}.py`), of torchvision's
`models/video/mvit.py`, and of the released code of TransM3E (a fork of PySlowFast: the student under PySlowFast's
names, its teacher under names with `_diff`).

Our parameters of MViTv2 and MCTF have PySlowFast's structure, so their tables follow from our paths by rules; a path
without a rule is an error, so that no parameter of ours is forgotten. Of equal blocks in a row, whose parameters are
stacked (models/layers/scanned_layers.py), each published array is a slice of ours.
"""

from __future__ import annotations

import dataclasses
import re

from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.layers.scanned_layers import LayerGroup
from musclemap_jax.models.transm3e import RELEASED, ModelSpec
from musclemap_jax.models.video.backbones import MVIT
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.pretrained.published import (
    HEAD_RULE,
    NO_HEAD_RULE,
    Architecture,
    Entry,
    Path,
    branch_model,
    head_name,
    model_shapes,
)
from musclemap_jax.pretrained.transforms import CONVOLUTION, COPY, LINEAR, POOLING, TABLE, TOKENS, Transform

TOKEN_RULE = "another number of class tokens"
IMAGE_RULE = "absent from weights trained on images"

STUDENT, TEACHER = RELEASED["branches"]
PREFIXES = ("fusion_", "head_", "")
"""Beginnings of the names at the top of `TransM3E`'s parameters, before the branch's name."""

_LEAVES = {"scale": "weight", "bias": "bias"}
_TOKEN_NAMES = {"classification": "cls_token", "receiver": "cls_token_distill"}


def _mvit_names(path: Path) -> list[tuple[str, Transform, tuple[int, ...]]]:
    """PySlowFast's names of a parameter below a video branch, with the transform and the index into it."""
    group = LayerGroup.from_name(path[0], "blocks_")
    if group is None:
        return [(*_mvit_name(path), ())]
    return [(*_mvit_name((f"blocks.{block}", *path[1:])), group.index(block)) for block in group.layers]


def _mvit_name(path: Path) -> tuple[str, Transform]:
    if path[0] == "class_tokens":
        return _TOKEN_NAMES[path[1]], TOKENS
    *modules, leaf = path
    if leaf == "kernel":
        transform = CONVOLUTION if path[0] == "patch_embed" else LINEAR
        return ".".join([*modules, "weight"]), transform
    if leaf.startswith("rel_pos_"):
        return ".".join([*modules, leaf]), TABLE
    if leaf.startswith("pool_"):
        return ".".join([*modules, leaf, "weight"]), POOLING
    return ".".join([*modules, _LEAVES[leaf]]), COPY


def _fusion_name(path: Path) -> tuple[str, Transform]:
    """The released code's name of a parameter of MCTF."""
    *modules, leaf = path
    name = ".".join(["fuse", *(re.sub(r"^proj_(\d)$", r"proj.\1", module) for module in modules)])
    return (f"{name}.weight", LINEAR) if leaf == "kernel" else (f"{name}.{_LEAVES[leaf]}", COPY)


def pyslowfast_entries(path: Path, released: bool = False) -> list[Entry]:
    """The published arrays of a parameter of a model of MViTv2 branches, one for each block that is stacked in it.

    Args:
      path: Path in the variables of `TransM3E`, the collection first.
      released: Whether to take the names of TransM3E's released code instead of PySlowFast's, under which every branch
        has the same names.

    Raises:
      KeyError: The published models have no such parameter.
    """
    collection, part, *rest = path
    prefix = next(prefix for prefix in PREFIXES if part.startswith(prefix))
    name = part.removeprefix(prefix)
    if collection != "params" or name not in BRANCHES or BRANCHES[name].backbone is not MVIT:
        raise KeyError(path)
    if released and name not in (STUDENT, TEACHER):
        raise KeyError(path)
    if prefix == "fusion_":
        names = [(*_fusion_name(tuple(rest)), ())]
    elif prefix == "head_":
        names = [(*head_name("head_cls.projection" if released else "head.projection", rest[0]), ())]
    else:
        names = _mvit_names(tuple(rest))
        if released and name == TEACHER:
            names = [(re.sub(r"^(\w+)", r"\1_diff", source), transform, at) for source, transform, at in names]
    return [Entry(source, path, transform, index) for source, transform, index in names]


_TORCHVISION = (
    (r"^cls_token$", "pos_encoding.class_token"),
    (r"^patch_embed\.proj\.", "conv_proj."),
    (r"^head\.projection\.", "head.1."),
    (r"\.attn\.proj\.", ".attn.project.0."),
    (r"^(blocks\.\d+)\.proj\.", r"\1.project."),
    (r"\.pool_([qkv])\.", r".pool_\1.pool."),
    (r"\.norm_([qkv])\.", r".pool_\1.norm_act.0."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
)


def torchvision_name(name: str) -> str:
    """torchvision's name (`mvit_v2_s`) of a parameter, given PySlowFast's."""
    for pattern, replacement in _TORCHVISION:
        name = re.sub(pattern, replacement, name)
    return name


def mvit_architecture(name: str, model: ModelSpec, *, names: str = "pyslowfast", images: bool = False) -> Architecture:
    """The architecture of a model of MViTv2 branches.

    Args:
      name: Name for reports.
      model: Our model.
      names: `pyslowfast`, `torchvision` or `released`.
      images: Whether the weights were trained on images, without class token and relative positions in time.
    """
    shapes, entries = model_shapes(model), []
    for path in shapes:
        for entry in pyslowfast_entries(path, released=names == "released"):
            is_tokens = entry.transform is TOKENS
            source = torchvision_name(entry.source) if names == "torchvision" else entry.source
            is_head = path[1].startswith("head_")
            misfit = HEAD_RULE if is_head else TOKEN_RULE if is_tokens else None
            absent = NO_HEAD_RULE if is_head else None
            if images and (is_tokens or path[-1] == "rel_pos_t"):
                absent = IMAGE_RULE
            entries.append(dataclasses.replace(entry, source=source, misfit=misfit, absent=absent))
    return Architecture(name, model, shapes, tuple(entries))


def published_mvit(
    spec: MViTSpec,
    names: str,
    images: bool,
    name: str,
    *,
    num_tokens: int | None = None,
    input_size: tuple[int, int, int] | None = None,
) -> Architecture:
    """A published model of MViTv2; `names`, `images` and `name` as in `mvit_architecture`.

    Args:
      spec: Architecture of its branches.
      num_tokens: Class tokens of our model; None for the published number (1, or 20 in the released TransM3E).
      input_size: Frames, height and width of our clips, which decide the length of the tables of relative positions;
        None for the published ones.

    Raises:
      UserError: An impossible option.
    """
    if input_size is not None:
        if len(input_size) != 3 or min(input_size) < 1:
            raise UserError(f"input_size: expected frames, height and width of at least 1, got {input_size}")
        spec = dataclasses.replace(spec, input_size=tuple(input_size))
    if num_tokens is not None and num_tokens < 1:
        raise UserError(f"num_tokens: expected at least 1, got {num_tokens}: leave it out for the published number")
    backbones = {MVIT.name: spec}
    if names == "released":
        model = ModelSpec(**RELEASED, num_tokens=num_tokens, backbones=backbones)
    else:
        model = branch_model(STUDENT, num_tokens or 0, backbones=backbones)
    return mvit_architecture(name, model, names=names, images=images)
