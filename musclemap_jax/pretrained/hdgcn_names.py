"""Published names of HD-GCN's parameters and statistics, and where ours lie.

Source: the state_dict of HD-GCN's published code (snapshot 672da2c). Ours stack equal units and the equal parts of a
unit on leading axes (units, hierarchies, subsets, branches), so one published array is a slice of one of ours. The
classifier (`fc`) belongs to the head of the whole model and is not listed; nor are `num_batches_tracked` and the
aliases `*.conv_d.*`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from flax import traverse_util

from musclemap_jax.models.skeleton.graph import NUM_SUBSETS
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec, UnitSpec
from musclemap_jax.models.skeleton.temporal_conv import NUM_BRANCHES

PARAMS, STATISTICS = "params", "batch_stats"
_NORM = {"weight": (PARAMS, "scale"), "bias": (PARAMS, "bias")}
_NORM_STATISTICS = {"running_mean": (STATISTICS, "mean"), "running_var": (STATISTICS, "var")}


@dataclasses.dataclass(frozen=True)
class PublishedArray:
    """Where one published array lies in the variables of `HDGCN`.

    Attributes:
      name: key of the published state_dict.
      path: path in our variables; its first part is the collection, ``params`` or ``batch_stats``.
      index: leading indices into our array.
      is_kernel: torch's (out, in, taps, 1), which is (taps, in, out) of ours, or (in, out) where we have no taps.
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

    def to_published(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Brings our whole array's slice into the published layout; `shape` is that of the published array."""
        array = np.asarray(array)[self.index]
        if self.is_kernel:
            array = np.moveaxis(array.reshape(-1, *array.shape[-2:]).swapaxes(1, 2), 0, 2)
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
      name: its published name, such as ``l2.gcn1``.
      path: its path in our variables.
      num_hierarchies: L.
      attention: it weighs hierarchies by AHA.
      shortcut: its width changes, so its shortcut is a convolution.
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
    """Lists all arrays of the published model of that shape, without the classifier."""
    arrays, units = list(_norm("data_bn", "input_norm")), spec.units()
    for group in spec.unit_groups():
        path = group.name("unit{:02d}")
        for number in group.layers:
            unit_arrays = _unit_arrays(f"l{number}", path, units[number - 1], spec.graph.num_hierarchies)
            index = group.index(number)
            arrays += [dataclasses.replace(array, index=index + array.index) for array in unit_arrays]
    return tuple(arrays)


def from_published(
    arrays: Mapping[str, np.ndarray], template: Mapping, entries: Iterable[PublishedArray]
) -> dict[str, dict]:
    """Fills our variables from published arrays.

    Args:
      arrays: published name -> array in torch's layout; others than the entries' are not looked at.
      template: variables {"params": .., "batch_stats": ..}, arrays or shapes, of what the entries describe.
      entries: where the arrays go, such as `published_arrays`.

    Returns:
      Variables of the template's structure, float32 numpy arrays.

    Raises:
      KeyError: a published array is missing.
      ValueError: an array does not fit, or part of the template is in no entry.
    """
    shapes = traverse_util.flatten_dict(dict(template))
    filled = {path: np.full(leaf.shape, np.nan, np.float32) for path, leaf in shapes.items()}
    missed = dict.fromkeys(filled)
    for entry in entries:
        missed.pop(entry.path, None)
        target = filled[entry.path]
        try:
            target[entry.index] = entry.from_published(np.asarray(arrays[entry.name]), target[entry.index].shape)
        except ValueError as error:
            shape = np.shape(arrays[entry.name])
            raise ValueError(f"{entry.name}: expected {target[entry.index].shape} of ours, got {shape}") from error
    if missed:
        raise ValueError(f"no published array for {', '.join('/'.join(path) for path in missed)}")
    return traverse_util.unflatten_dict(filled)
