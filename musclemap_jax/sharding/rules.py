"""Rules from a parameter's path to its PartitionSpec.

Parameters, their optimizer moments and their moving average have paths that end alike, so one table serves all. It
cuts what is large: every matrix and convolution kernel; what a rule leaves whole is below a hundredth of the model. A
leaf that no rule matches, or a dimension that its mesh axis does not divide, is replicated; `unsharded_params` names
them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Axes = tuple[str | None, ...]

RULES: tuple[tuple[str, Axes], ...] = (
    (r"patch_embed/.*kernel$", ("fsdp",)),
    # Over `tensor` the transformers alone are cut. The rest is narrow, and GSPMD (jax 0.10.2, CPU) gives HD-GCN a wrong
    # gradient on a 2x2x2 mesh as soon as what its tokens go into is cut there.
    (r"(^|/)(skeleton/|fusion_|head_|kd_).*kernel$", ("fsdp", None)),
    # Narrowing projections follow widening ones, so that the two are one pair for tensor parallelism.
    (r"(attn/proj|mlp/fc2)/kernel$", ("tensor", "fsdp")),
    # Widening projections and everything else of the form (..., inputs, outputs).
    (r"kernel$", ("fsdp", "tensor")),
    (r"pool_[qkv]$", ("fsdp",)),
    (r"norm\d_\w+/(scale|bias)$", ("fsdp",)),  # MCTF's, over (tokens, width)
    # Small: vectors, tables of positions, adjacencies, tokens.
    (r"(bias|scale|mean|var)$", ()),
    (r"(rel_pos_[thw]|adjacency|spread|classification|receiver|tokens)$", ()),
)
"""(regular expression searched in the path, mesh axes of the last dimensions); the first that matches counts."""


class UnshardedParam(NamedTuple):
    """An array of which every device holds a copy though the mesh could cut it.

    Attributes:
      name: path of the leaf.
      shape: of the leaf.
      reason: why it is not cut.
    """

    name: str
    shape: tuple[int, ...]
    reason: str


def path_name(path: tuple[Any, ...]) -> str:
    """The path of a leaf as text: ``params/video/block00/attention/qkv/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _axes(name: str, num_dimensions: int) -> Axes | None:
    """Mesh axes of every dimension by the rules; None where no rule matches."""
    for pattern, axes in RULES:
        if re.search(pattern, name) and len(axes) <= num_dimensions:
            return (None,) * (num_dimensions - len(axes)) + axes
    return None


def _spec(name: str, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    axes = _axes(name, len(shape)) or ()
    fitting = [
        axis if axis and mesh.shape[axis] > 1 and size % mesh.shape[axis] == 0 else None
        for axis, size in zip(axes, shape, strict=False)
    ]
    return PartitionSpec(*fitting) if any(fitting) else PartitionSpec()


def _leaves(abstract_state: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(abstract_state)[0]:
        yield path_name(path), tuple(leaf.shape)


def unsharded_params(abstract_params: Any, mesh: Mesh) -> list[UnshardedParam]:
    """Arrays that are not cut though no rule says so: no rule matches, or a dimension does not divide.

    Args:
      abstract_params: a tree of arrays or ShapeDtypeStructs.
      mesh: the device mesh.
    """
    found = []
    for name, shape in _leaves(abstract_params):
        axes = _axes(name, len(shape))
        if axes is None and shape and mesh.shape["fsdp"] * mesh.shape["tensor"] > 1:
            found.append(UnshardedParam(name, shape, "no rule"))
        odd = [
            f"{axis}={mesh.shape[axis]} does not divide {size}"
            for axis, size in zip(axes or (), shape, strict=False)
            if axis and size % mesh.shape[axis]
        ]
        if odd and _spec(name, shape, mesh) == PartitionSpec():
            found.append(UnshardedParam(name, shape, " and ".join(odd)))
    return found


def state_sharding(abstract_state: Any, mesh: Mesh) -> Any:
    """Shardings of a training state, leaf by leaf.

    Args:
      abstract_state: a tree of arrays or ShapeDtypeStructs.
      mesh: the device mesh.

    Returns:
      The same tree with a NamedSharding in the place of each leaf.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: NamedSharding(mesh, _spec(path_name(path), leaf.shape, mesh)), abstract_state
    )


def bytes_per_device(abstract_state: Any, shardings: Any) -> int:
    """Bytes that each device holds of a state.

    Args:
      abstract_state: a tree of arrays or ShapeDtypeStructs.
      shardings: the tree of its shardings.
    """
    sizes = jax.tree.map(
        lambda leaf, sharding: math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize,
        abstract_state,
        shardings,
    )
    return sum(jax.tree.leaves(sizes))
