"""Rules from a parameter's path to its PartitionSpec.

The paths of parameters, their optimizer moments and their moving average end alike, so one table serves all three. A
model brings the rules of its branches, which are tried before the common ones. Every matrix and convolution kernel is
sharded; what a rule replicates is less than a hundredth of the model. A leaf that no rule matches, or a dimension that
its mesh axis does not divide, is replicated; `unsharded_params` lists them.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Axes = tuple[str | None, ...]
Rules = tuple[tuple[str, Axes], ...]
"""(regular expression searched in the path, mesh axes of the last dimensions); the first that matches counts."""

COMMON_RULES: Rules = (
    # Narrow: never cut over `tensor`.
    (r"(^|/)(fusion_|head_|kd_).*kernel$", ("fsdp", None)),
    (r"kernel$", ("fsdp", "tensor")),  # (..., inputs, outputs)
    (r"norm\d_\w+/(scale|bias)$", ("fsdp",)),  # MCTF's, over (tokens, width)
    (r"(bias|scale|mean|var)$", ()),
)


def rules_below(name: str, rules: Rules) -> Rules:
    """The same rules for the part of the parameters' tree that has this name."""
    return tuple((rf"(^|/){name}/.*({pattern})", axes) for pattern, axes in rules)


class UnshardedParam(NamedTuple):
    """Path and shape of an array that is replicated though the mesh could shard it, and the reason."""

    name: str
    shape: tuple[int, ...]
    reason: str


def path_name(path: tuple[Any, ...]) -> str:
    """A leaf's path as text, such as ``params/video/blocks_0/attn/qkv/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _axes(name: str, num_dimensions: int, rules: Rules) -> Axes | None:
    """Mesh axes of every dimension by the rules; None where no rule matches."""
    for pattern, axes in (*rules, *COMMON_RULES):
        if re.search(pattern, name) and len(axes) <= num_dimensions:
            return (None,) * (num_dimensions - len(axes)) + axes
    return None


def _spec(name: str, shape: tuple[int, ...], mesh: Mesh, rules: Rules) -> PartitionSpec:
    axes = _axes(name, len(shape), rules) or ()
    fitting = [
        axis if axis and mesh.shape[axis] > 1 and size % mesh.shape[axis] == 0 else None
        for axis, size in zip(axes, shape, strict=False)
    ]
    return PartitionSpec(*fitting) if any(fitting) else PartitionSpec()


def unsharded_params(abstract_params: Any, mesh: Mesh, rules: Rules = ()) -> list[UnshardedParam]:
    """Lists arrays that are replicated against the rules: no rule matches, or a dimension is not divisible.

    Args:
      abstract_params: A tree of arrays or ShapeDtypeStructs.
      mesh: The device mesh.
      rules: The model's own rules (`TransM3E.sharding_rules`), tried before the common ones.
    """
    found = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(abstract_params)[0]:
        name, shape = path_name(path), tuple(leaf.shape)
        axes = _axes(name, len(shape), rules)
        reasons = [
            f"{axis}={mesh.shape[axis]} does not divide {size}"
            for axis, size in zip(axes or (), shape, strict=False)
            if axis and size % mesh.shape[axis]
        ]
        if axes is None and shape and mesh.shape["fsdp"] * mesh.shape["tensor"] > 1:
            reasons = ["no rule"]
        if reasons and _spec(name, shape, mesh, rules) == PartitionSpec():
            found.append(UnshardedParam(name, shape, " and ".join(reasons)))
    return found


def state_sharding(abstract_state: Any, mesh: Mesh, rules: Rules = ()) -> Any:
    """Returns the tree with a NamedSharding in place of each leaf; arguments as in `unsharded_params`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: NamedSharding(mesh, _spec(path_name(path), leaf.shape, mesh, rules)), abstract_state
    )


def bytes_per_device(shapes: Any, shardings: Any) -> int:
    """Counts the bytes that each device holds of a tree of arrays or ShapeDtypeStructs with these NamedShardings."""
    sizes = jax.tree.map(
        lambda leaf, sharding: math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize, shapes, shardings
    )
    return sum(jax.tree.leaves(sizes))
