"""Published names of HD-GCN's parameters and statistics, and where ours lie.

Source: the state_dict of HD-GCN's published code (snapshot 672da2c). Ours stack equal units and the equal parts of a
unit on leading axes (units, hierarchies, subsets, branches), so one published array is a slice of one of ours.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.backbones import HDGCN_BACKBONE
from musclemap_jax.models.skeleton.graph import NUM_SUBSETS
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec, UnitSpec
from musclemap_jax.models.skeleton.temporal_conv import NUM_BRANCHES
from musclemap_jax.pretrained.hdgcn_joints import (
    HIERARCHY_RULE,
    LEFT_OUT,
    NORM_RULE,
    NTU25,
    corresponding_graph,
    corresponding_hierarchies,
    edges_by_name,
)
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
from musclemap_jax.pretrained.transforms import Shape, Transform

PARAMS, STATISTICS = "params", "batch_stats"
MAX_PERSONS = 16

IGNORED = ((r"\.conv_d\.", "a second name of an array that is listed under its first"),)
"""(pattern, rule) of published keys that have no counterpart in our model."""

BRANCH = "skeleton"
"""The branch that published weights are imported into."""

_NORM = {
    "weight": (PARAMS, "scale"),
    "bias": (PARAMS, "bias"),
    "running_mean": (STATISTICS, "mean"),
    "running_var": (STATISTICS, "var"),
}

KERNEL = Transform(
    "a convolution",
    lambda source, shape: (
        len(source) >= 3 and source[3:] in ((), (1,)) and source[2::-1] == (1,) * (3 - len(shape)) + shape
    ),
    lambda array, shape: np.moveaxis(array.reshape(*array.shape[:2], -1), 2, 0).swapaxes(1, 2).reshape(shape),
)
"""(out, in, taps, 1) in PyTorch, (taps, in, out) in ours, or (in, out) where ours has no taps."""

ARRAY = Transform(
    "the same array", lambda source, shape: [n for n in source if n != 1] == [n for n in shape if n != 1], np.reshape
)
"""Ours is without the axes of length 1."""

INPUT_NORM = Transform(
    "the input's norm",
    lambda source, shape: (
        len(source) == 1
        and math.prod(shape) <= source[0] <= MAX_PERSONS * math.prod(shape)
        and source[0] % math.prod(shape[1:]) == 0
    ),
    lambda array, shape: array.reshape(-1, *shape[1:])[: shape[0]],
    change=lambda source, shape: "cut to the first persons" if source[0] != math.prod(shape) else "",
)
"""Flat (persons, joints, coordinates): a norm of more persons is cut to the first ones."""


def _norm(name: str, *path: str, index: Shape = (), transform: Transform = ARRAY) -> Iterator[Entry]:
    for part, (collection, ours) in _NORM.items():
        yield Entry(f"{name}.{part}", (collection, *path, ours), transform, index)


def _kernel(name: str, *path: str, index: Shape = ()) -> Entry:
    return Entry(f"{name}.weight", (PARAMS, *path), KERNEL, index)


def _bias(name: str, *path: str, index: Shape = ()) -> Entry:
    return Entry(f"{name}.bias", (PARAMS, *path), ARRAY, index)


def _pointwise(conv: str, norm: str, *path: str) -> Iterator[Entry]:
    yield _kernel(conv, *path, "kernel")
    yield _bias(conv, *path, "bias")
    yield from _norm(norm, *path, "norm")


def _edge_conv(name: str, *path: str, index: Shape) -> Iterator[Entry]:
    yield _kernel(f"{name}.conv.0", *path, "edge", "kernel", index=index)
    yield from _norm(f"{name}.conv.1", *path, "edge", "norm", index=index)


def graph_conv_arrays(
    name: str, path: Path, hierarchies: Sequence[int], attention: bool, shortcut: bool
) -> Iterator[Entry]:
    """Lists the arrays of one graph convolution.

    Args:
      name: Its published name, such as `l2.gcn1`.
      path: Its path in our variables.
      hierarchies: Published number of each of our hierarchies.
      attention: Whether it weighs hierarchies by attention (AHA).
      shortcut: Whether its shortcut is a convolution, because the width changes.
    """
    yield Entry(f"{name}.PA", (PARAMS, *path, "adjacency"), ARRAY)
    for level, number in enumerate(hierarchies):
        down = f"{name}.conv_down.{number}"
        yield _kernel(f"{down}.0", *path, "down_kernel", index=(level,))
        yield _bias(f"{down}.0", *path, "down_bias", index=(level,))
        yield from _norm(f"{down}.1", *path, "down_norm", index=(level,))
        for subset in range(NUM_SUBSETS):
            conv, index = f"{name}.conv.{number}.{subset}", (level, subset)
            yield _kernel(f"{conv}.0", *path, "subset_kernel", index=index)
            yield _bias(f"{conv}.0", *path, "subset_bias", index=index)
            yield from _norm(f"{conv}.1", *path, "subset_norm", index=index)
        yield from _edge_conv(f"{name}.conv.{number}.{NUM_SUBSETS}", *path, index=(level,))
    if attention:
        aha, ours = f"{name}.aha", (*path, "attention")
        yield from _pointwise(f"{aha}.conv_down.0", f"{aha}.conv_down.1", *ours, "down")
        yield from _edge_conv(f"{aha}.edge_conv", *ours, index=(0,))
        yield _kernel(f"{aha}.aggregate", *ours, "aggregate", "kernel")
        yield _bias(f"{aha}.aggregate", *ours, "aggregate", "bias")
    if shortcut:
        yield from _pointwise(f"{name}.down.0", f"{name}.down.1", *path, "shortcut")
    yield from _norm(f"{name}.bn", *path, "norm")


def temporal_conv_arrays(name: str, path: Path) -> Iterator[Entry]:
    """Lists the arrays of one temporal convolution; arguments as in `graph_conv_arrays`."""
    num_convs = NUM_BRANCHES - 2
    for branch in range(NUM_BRANCHES):
        prefix = f"{name}.branches.{branch}"
        yield _kernel(f"{prefix}.0", *path, "reduce_kernel", index=(branch,))
        yield _bias(f"{prefix}.0", *path, "reduce_bias", index=(branch,))
        if branch < NUM_BRANCHES - 1:
            yield from _norm(f"{prefix}.1", *path, "reduce_norm", index=(branch,))
        if branch < num_convs:
            yield _kernel(f"{prefix}.3.conv", *path, "conv_kernel", index=(branch,))
            yield _bias(f"{prefix}.3", *path, "conv_bias", index=(branch,))
            yield from _norm(f"{prefix}.3.bn", *path, "conv_norm", index=(branch,))
    yield from _norm(f"{name}.branches.{num_convs}.4", *path, "pool_norm")
    yield from _norm(f"{name}.branches.{num_convs + 1}.1", *path, "point_norm")


def _unit_arrays(name: str, path: str, unit: UnitSpec, hierarchies: Sequence[int]) -> Iterator[Entry]:
    shortcut = unit.features_in != unit.features
    yield from graph_conv_arrays(f"{name}.gcn1", (path, "graph"), hierarchies, not unit.is_first, shortcut)
    yield from temporal_conv_arrays(f"{name}.tcn1", (path, "temporal"))
    if not unit.is_first and not unit.preserves_shape:
        yield from _pointwise(f"{name}.residual.conv", f"{name}.residual.bn", path, "residual")


def published_arrays(spec: HDGCNSpec, hierarchies: Sequence[int] | None = None) -> tuple[Entry, ...]:
    """Lists all arrays of the published model except for the classifier (`fc`), with their paths in `HDGCN`.

    `hierarchies` are the published numbers of ours; None for the same.
    """
    arrays, units = list(_norm("data_bn", "input_norm", transform=INPUT_NORM)), spec.units()
    hierarchies = range(spec.graph.num_hierarchies) if hierarchies is None else hierarchies
    for group in spec.unit_groups():
        path = group.name("unit{:02d}")
        for number in group.layers:
            unit_arrays = _unit_arrays(f"l{number}", path, units[number - 1], hierarchies)
            index = group.index(number)
            arrays += [dataclasses.replace(array, index=index + array.index) for array in unit_arrays]
    return tuple(arrays)


def hdgcn_architecture(
    name: str, spec: HDGCNSpec, num_persons: int = 1, from_layout: str | None = None
) -> Architecture:
    """HD-GCN with pooled features; the classifier is in the table.

    Args:
      name: Name for reports.
      spec: Our model.
      num_persons: Persons that the input norm is for.
      from_layout: Skeleton layout of the published weights; None for the spec's. From another one, arrays are taken by
        the joints' names (hdgcn_joints.py).
    """
    model = branch_model(BRANCH, backbones={HDGCN_BACKBONE.name: spec})
    arrays, ignored = published_arrays(spec), IGNORED
    if from_layout not in (None, spec.layout):
        arrays, ignored = _arrays_by_joint(spec, from_layout)
    entries = [dataclasses.replace(array, target=(array.target[0], BRANCH, *array.target[1:])) for array in arrays]
    for leaf in ("kernel", "bias"):
        source, transform = head_name("fc", leaf)
        target = (PARAMS, f"head_{BRANCH}", leaf)
        entries.append(Entry(source, target, transform, misfit=HEAD_RULE, absent=NO_HEAD_RULE))
    return Architecture(name, model, model_shapes(model, num_persons), tuple(entries), ignored)


def _arrays_by_joint(spec: HDGCNSpec, from_layout: str) -> tuple[list[Entry], tuple[tuple[str, str], ...]]:
    """The table for weights of another layout, and the rules for what is left out of them."""
    published = corresponding_graph(spec.graph, from_layout)
    hierarchies = corresponding_hierarchies(spec.graph, published)
    edges, arrays = edges_by_name(spec.graph, published, hierarchies), []
    for entry in published_arrays(spec, hierarchies):
        if entry.transform is INPUT_NORM:
            entry = dataclasses.replace(entry, transform=LEFT_OUT, misfit=NORM_RULE, absent=NORM_RULE)
        elif entry.target[-1] == "adjacency":
            entry = dataclasses.replace(entry, transform=edges)
        arrays.append(entry)
    others = "|".join(str(number) for number in range(published.num_hierarchies) if number not in hierarchies)
    rule = (rf"^l\d+\.gcn1\.conv(_down)?\.({others})\.", HIERARCHY_RULE)
    return arrays, (*IGNORED, *([rule] if others else []))


def published_hdgcn(
    name: str,
    *,
    layout: str = NTU25,
    centre: str | None = None,
    num_persons: int = 2,
    from_layout: str = NTU25,
) -> Architecture:
    """The published HD-GCN.

    Args:
      name: Name for reports.
      layout: Skeleton layout of our model.
      centre: Joint that the levels start from; None for the layout's default.
      num_persons: Persons that the input norm is for.
      from_layout: Skeleton layout of the published weights.

    Raises:
      UserError: An impossible option.
    """
    if num_persons < 1:
        raise UserError(f"num_persons: expected at least 1, got {num_persons}")
    try:
        spec = HDGCNSpec(layout=layout, centre=centre)
    except ValueError as error:
        raise UserError(f"layout: {error}") from error
    return hdgcn_architecture(name, spec, num_persons, from_layout)
