"""Tables of published names: which published array goes where among our variables.

Sources: the state_dicts of PySlowFast's MViT (`slowfast/models/{attention,video_model_builder}.py`), of torchvision's
`models/video/mvit.py`, of the released code of TransM3E (a fork of PySlowFast: the student under PySlowFast's names,
its teacher on RGB difference under names with `_diff`), and of HD-GCN (pretrained/hdgcn_names.py).

Our parameters of MViTv2 and MCTF have PySlowFast's structure, so their tables follow from our paths by rules; a path
without a rule is an error, so that no parameter of ours is forgotten. Of equal blocks in a row, whose parameters are
stacked (models/layers/scanned_layers.py), each published array is a slice of ours.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable

from musclemap_jax.models.layers.scanned_layers import LayerGroup
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.pretrained.hdgcn_names import PublishedArray, published_arrays
from musclemap_jax.pretrained.transforms import (
    CONVOLUTION,
    COPY,
    LINEAR,
    POOLING,
    TABLE,
    TOKENS,
    Shape,
    Transform,
)

Path = tuple[str, ...]

MAX_PERSONS = 16

HEAD_RULE = "head for other classes"
TOKEN_RULE = "another number of class tokens"
IMAGE_RULE = "absent from weights trained on images"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One published array and its place.

    Attributes:
      source: published key.
      target: path in our variables, the collection first.
      transform: from the published layout to ours.
      index: leading indices into our array, of which the published one is a slice.
      misfit: the rule by which the pair is left out when shapes differ; None: that is an error.
      absent: the rule by which ours keeps its initial value when the published array is absent; None: an error.
    """

    source: str
    target: Path
    transform: Transform
    index: tuple[int, ...] = ()
    misfit: str | None = None
    absent: str | None = None


_LEAVES = {"scale": "weight", "bias": "bias"}
_TOKEN_NAMES = {"classification": "cls_token", "receiver": "cls_token_distill"}


@dataclasses.dataclass(frozen=True)
class PublishedName:
    """Name of a published array, and of which slice of ours it is.

    Attributes:
      name: published key.
      transform: from the published layout to ours.
      index: leading indices into our array.
    """

    name: str
    transform: Transform
    index: tuple[int, ...] = ()


def _mvit_names(path: Path) -> list[PublishedName]:
    """PySlowFast's names of a parameter below a video branch."""
    group = LayerGroup.from_name(path[0], "blocks_")
    if group is None:
        return [PublishedName(*_mvit_name(path))]
    return [
        PublishedName(*_mvit_name((f"blocks.{block}", *path[1:])), index=group.index(block)) for block in group.layers
    ]


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


def _head_name(head: str, leaf: str) -> tuple[str, Transform]:
    return (f"{head}.weight", LINEAR) if leaf == "kernel" else (f"{head}.bias", COPY)


def _difference_name(name: str) -> str:
    """The released code's name for the teacher on RGB difference."""
    first, *rest = name.split(".")
    return ".".join([f"{first}_diff", *rest])


def pyslowfast_names(path: Path, released: bool = False) -> list[PublishedName]:
    """Published names of a parameter of a model with video branches, one for each of the blocks that are stacked in it.

    Args:
      path: in the variables of `TransM3E`, the collection first.
      released: names of TransM3E's released code; else of PySlowFast, where every branch has the same names.

    Raises:
      KeyError: a path that the published models do not have.
    """
    collection, part, *rest = path
    if collection != "params":
        raise KeyError(path)
    if part in ("video", "rgb_diff"):
        names = _mvit_names(tuple(rest))
        if released and part == "rgb_diff":
            return [dataclasses.replace(published, name=_difference_name(published.name)) for published in names]
        return names
    if part in ("fusion_video", "fusion_rgb_diff"):
        return [PublishedName(*_fusion_name(tuple(rest)))]
    if part in ("head_video", "head_rgb_diff"):
        return [PublishedName(*_head_name("head_cls.projection" if released else "head.projection", rest[0]))]
    raise KeyError(path)


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
    """torchvision's name (`mvit_v2_s`) of a parameter that has this name in PySlowFast."""
    for pattern, replacement in _TORCHVISION:
        name = re.sub(pattern, replacement, name)
    return name


def video_entries(paths: Iterable[Path], *, names: str, images: bool = False) -> tuple[Entry, ...]:
    """The table of a model with video branches.

    Args:
      paths: of all of our variables.
      names: ``pyslowfast``, ``torchvision`` or ``released``.
      images: weights trained on images, which have neither class token nor relative positions in time.
    """
    entries = []
    for path in paths:
        is_head = path[1].startswith("head_")
        for published in pyslowfast_names(path, released=names == "released"):
            source, transform = published.name, published.transform
            if names == "torchvision":
                source = torchvision_name(source)
            misfit = HEAD_RULE if is_head else TOKEN_RULE if transform is TOKENS else None
            image_lacks = images and (transform is TOKENS or path[-1] == "rel_pos_t")
            absent = IMAGE_RULE if image_lacks else None
            entries.append(Entry(source, path, transform, published.index, misfit, absent))
    return tuple(entries)


class _InputNorm(Transform):
    def change(self, source: Shape, shape: Shape) -> str:
        return "cut to the first persons" if source[0] != math.prod(shape) else ""


def _published_transform(entry: PublishedArray) -> Transform:
    """The transform of a published array of HD-GCN; ours is a slice with axes of length 1 left out."""
    if entry.path[1] == "input_norm":
        # Flat (persons, joints, coordinates): the norm of more persons serves fewer.
        return _InputNorm(
            "the input's norm",
            lambda source, shape: (
                len(source) == 1
                and math.prod(shape) <= source[0] <= MAX_PERSONS * math.prod(shape)
                and source[0] % math.prod(shape[1:]) == 0
            ),
            lambda array, shape: array.reshape(-1, *shape[1:])[: shape[0]],
        )
    if entry.is_kernel:
        return Transform(
            "a convolution",
            lambda source, shape: (
                len(source) >= 3 and source[3:] in ((), (1,)) and source[2::-1] == (1,) * (3 - len(shape)) + shape
            ),
            entry.from_published,
        )
    return Transform(
        "the same array",
        lambda source, shape: [n for n in source if n != 1] == [n for n in shape if n != 1],
        entry.from_published,
    )


def hdgcn_entries(spec: HDGCNSpec) -> tuple[Entry, ...]:
    """The table of HD-GCN without class tokens, its classifier included."""
    entries = [
        Entry(array.name, (array.path[0], "skeleton", *array.path[1:]), _published_transform(array), array.index)
        for array in published_arrays(spec)
    ]
    for leaf in ("kernel", "bias"):
        source, transform = _head_name("fc", leaf)
        entries.append(Entry(source, ("params", "head_skeleton", leaf), transform, misfit=HEAD_RULE))
    return tuple(entries)


HDGCN_IGNORED = (
    (r"\.conv_d\.", "a second name of an array that is listed under its first"),
    (r"\.num_batches_tracked$", "count of steps of a batch norm with fixed momentum"),
)
"""(pattern, rule) of published keys that nothing of ours takes."""
