"""Published names of HD-GCN's parameters and statistics, and where ours lie.

Source: the state_dict of HD-GCN's published code (snapshot 672da2c). Ours stack equal units and the equal parts of a
unit on leading axes (units, hierarchies, subsets, branches), so one published array is a slice of one of ours.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import HDGCN_BACKBONE
from musclemap_jax.models.skeleton.graph import NUM_SUBSETS
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec, UnitSpec
from musclemap_jax.models.skeleton.temporal_conv import NUM_BRANCHES
from musclemap_jax.pretrained.published import HEAD_RULE, Architecture, Entry, branch_model, head_name, model_shapes
from musclemap_jax.pretrained.transforms import Shape, Transform

PARAMS, STATISTICS = "params", "batch_stats"
MAX_PERSONS = 16

IGNORED = (
    (r"\.conv_d\.", "a second name of an array that is listed under its first"),
    (r"\.num_batches_tracked$", "count of steps of a batch norm with fixed momentum"),
)
"""(pattern, rule) of published keys that have no counterpart in our model."""

BRANCH = "skeleton"
"""The branch that published weights are imported into."""

_NORM = {"weight": (PARAMS, "scale"), "bias": (PARAMS, "bias")}
_NORM_STATISTICS = {"running_mean": (STATISTICS, "mean"), "running_var": (STATISTICS, "var")}


@dataclasses.dataclass(frozen=True)
class PublishedArray:
    """Where one published array lies in the variables of `HDGCN`.

    Attributes:
      name: Key of the published state_dict.
      path: Path in our variables, the collection (`params` or `batch_stats`) first.
      index: Leading indices into our array.
      is_kernel: Whether it is a convolution: (out, in, taps, 1) in PyTorch, (taps, in, out) in ours, or (in, out) where
        ours has no taps.
    """

    name: str
    path: tuple[str, ...]
    index: tuple[int, ...] = ()
    is_kernel: bool = False

    def from_published(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Brings a published array into our layout; `shape` is that of our slice."""
        if self.is_kernel:
            array = np.moveaxis(array.reshape(*array.shape[:2], -1), 2, 0).swapaxes(1, 2)
            if array.shape != (1,) * (3 - len(shape)) + shape:
                raise ValueError(f"kernel of shape {array.shape} for {shape}")
        return array.reshape(shape)


def _norm(name: str, *path: str, index: tuple[int, ...] = ()) -> Iterator[PublishedArray]:
    for part, (collection, ours) in (_NORM | _NORM_STATISTICS).items():
        yield PublishedArray(f"{name}.{part}", (collection, *path, ours), index)


def _kernel(name: str, *path: str, index: tuple[int, ...] = ()) -> PublishedArray:
    return PublishedArray(name, (PARAMS, *path), index, is_kernel=True)


def _pointwise(conv: str, norm: str, *path: str) -> Iterator[PublishedArray]:
    yield _kernel(f"{conv}.weight", *path, "kernel")
    yield PublishedArray(f"{conv}.bias", (PARAMS, *path, "bias"))
    yield from _norm(norm, *path, "norm")


def graph_conv_arrays(
    name: str, path: tuple[str, ...], num_hierarchies: int, attention: bool, shortcut: bool
) -> Iterator[PublishedArray]:
    """Lists the arrays of one graph convolution.

    Args:
      name: Its published name, such as `l2.gcn1`.
      path: Its path in our variables.
      num_hierarchies: Number of hierarchies.
      attention: Whether it weighs hierarchies by attention (AHA).
      shortcut: Whether its shortcut is a convolution, because the width changes.
    """
    yield PublishedArray(f"{name}.PA", (PARAMS, *path, "adjacency"))
    for level in range(num_hierarchies):
        down = f"{name}.conv_down.{level}"
        yield _kernel(f"{down}.0.weight", *path, "down_kernel", index=(level,))
        yield PublishedArray(f"{down}.0.bias", (PARAMS, *path, "down_bias"), (level,))
        yield from _norm(f"{down}.1", *path, "down_norm", index=(level,))
        for subset in range(NUM_SUBSETS):
            conv, index = f"{name}.conv.{level}.{subset}", (level, subset)
            yield _kernel(f"{conv}.0.weight", *path, "subset_kernel", index=index)
            yield PublishedArray(f"{conv}.0.bias", (PARAMS, *path, "subset_bias"), index)
            yield from _norm(f"{conv}.1", *path, "subset_norm", index=index)
        edge = f"{name}.conv.{level}.{NUM_SUBSETS}.conv"
        yield _kernel(f"{edge}.0.weight", *path, "edge", "kernel", index=(level,))
        yield from _norm(f"{edge}.1", *path, "edge", "norm", index=(level,))
    if attention:
        aha, ours = f"{name}.aha", (*path, "attention")
        yield from _pointwise(f"{aha}.conv_down.0", f"{aha}.conv_down.1", *ours, "down")
        yield _kernel(f"{aha}.edge_conv.conv.0.weight", *ours, "edge", "kernel", index=(0,))
        yield from _norm(f"{aha}.edge_conv.conv.1", *ours, "edge", "norm", index=(0,))
        yield _kernel(f"{aha}.aggregate.weight", *ours, "aggregate", "kernel")
        yield PublishedArray(f"{aha}.aggregate.bias", (PARAMS, *ours, "aggregate", "bias"))
    if shortcut:
        yield from _pointwise(f"{name}.down.0", f"{name}.down.1", *path, "shortcut")
    yield from _norm(f"{name}.bn", *path, "norm")


def temporal_conv_arrays(name: str, path: tuple[str, ...]) -> Iterator[PublishedArray]:
    """Lists the arrays of one temporal convolution; arguments as in `graph_conv_arrays`."""
    num_convs = NUM_BRANCHES - 2
    for branch in range(NUM_BRANCHES):
        prefix = f"{name}.branches.{branch}"
        yield _kernel(f"{prefix}.0.weight", *path, "reduce_kernel", index=(branch,))
        yield PublishedArray(f"{prefix}.0.bias", (PARAMS, *path, "reduce_bias"), (branch,))
        if branch < NUM_BRANCHES - 1:
            yield from _norm(f"{prefix}.1", *path, "reduce_norm", index=(branch,))
    for branch in range(num_convs):
        prefix = f"{name}.branches.{branch}.3"
        yield _kernel(f"{prefix}.conv.weight", *path, "conv_kernel", index=(branch,))
        yield PublishedArray(f"{prefix}.bias", (PARAMS, *path, "conv_bias"), (branch,))
        yield from _norm(f"{prefix}.bn", *path, "conv_norm", index=(branch,))
    yield from _norm(f"{name}.branches.{num_convs}.4", *path, "pool_norm")
    yield from _norm(f"{name}.branches.{num_convs + 1}.1", *path, "point_norm")


def _unit_arrays(name: str, path: str, unit: UnitSpec, num_hierarchies: int) -> Iterator[PublishedArray]:
    shortcut = unit.features_in != unit.features
    yield from graph_conv_arrays(f"{name}.gcn1", (path, "graph"), num_hierarchies, not unit.is_first, shortcut)
    yield from temporal_conv_arrays(f"{name}.tcn1", (path, "temporal"))
    if not unit.is_first and not unit.preserves_shape:
        yield from _pointwise(f"{name}.residual.conv", f"{name}.residual.bn", path, "residual")


def published_arrays(spec: HDGCNSpec) -> tuple[PublishedArray, ...]:
    """Lists all arrays of the published model of that architecture, except for the classifier (`fc`)."""
    arrays, units = list(_norm("data_bn", "input_norm")), spec.units()
    for group in spec.unit_groups():
        path = group.name("unit{:02d}")
        for number in group.layers:
            unit_arrays = _unit_arrays(f"l{number}", path, units[number - 1], spec.graph.num_hierarchies)
            index = group.index(number)
            arrays += [dataclasses.replace(array, index=index + array.index) for array in unit_arrays]
    return tuple(arrays)


class _InputNorm(Transform):
    def change(self, source: Shape, shape: Shape) -> str:
        return "cut to the first persons" if source[0] != math.prod(shape) else ""


def _published_transform(entry: PublishedArray) -> Transform:
    """The transform of a published array; ours is a slice without the axes of length 1."""
    if entry.path[1] == "input_norm":
        # Flat (persons, joints, coordinates): a norm of more persons is cut to the first ones.
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
        Entry(array.name, (array.path[0], BRANCH, *array.path[1:]), _published_transform(array), array.index)
        for array in published_arrays(spec)
    ]
    for leaf in ("kernel", "bias"):
        source, transform = head_name("fc", leaf)
        entries.append(Entry(source, (PARAMS, f"head_{BRANCH}", leaf), transform, misfit=HEAD_RULE))
    return tuple(entries)


def hdgcn_architecture(name: str, spec: HDGCNSpec, num_persons: int = 1) -> Architecture:
    """HD-GCN with pooled features, on a layout with the published levels."""
    model = branch_model(BRANCH, backbones={HDGCN_BACKBONE.name: spec})
    return Architecture(name, model, model_shapes(model, num_persons), hdgcn_entries(spec), IGNORED)


def published_hdgcn(
    name: str, *, layout: str = "ntu25", centre: str | None = None, num_persons: int = 2
) -> Architecture:
    """The published HD-GCN.

    Args:
      name: Name for reports.
      layout: Skeleton layout.
      centre: Joint that the levels start from; None for the layout's default.
      num_persons: Number of persons that the input norm is for.

    Raises:
      UserError: An impossible option.
    """
    if num_persons < 1:
        raise UserError(f"num_persons: expected at least 1, got {num_persons}")
    try:
        spec = HDGCNSpec(layout=layout, centre=centre)
    except ValueError as error:
        raise UserError(f"layout: {error}") from error
    return hdgcn_architecture(name, spec, num_persons)
