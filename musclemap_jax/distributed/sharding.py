"""Rules from a parameter's path to its PartitionSpec.

Parameters, their optimizer moments and their moving average have paths that end alike, so one table serves all.
A leaf that no rule matches, or a dimension that its mesh axis does not divide, is replicated.
"""

from __future__ import annotations

import re
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    # Widening projections: inputs over fsdp, outputs over tensor.
    (r"(qkv|mlp_in|fc1)/kernel$", ("fsdp", "tensor")),
    # Narrowing projections: the other way, so that the two are one pair for tensor parallelism.
    (r"(proj|mlp_out|fc2)/kernel$", ("tensor", "fsdp")),
    (r"patch_embed/.*kernel$", (None, None, None, None, "fsdp")),
    (r"kernel$", ("fsdp", "tensor")),
)
"""(regular expression searched in the path, axes of the leading dimensions); the first that matches counts."""


def path_name(path: tuple[Any, ...]) -> str:
    """The path of a leaf as text: ``params/video/block00/attention/qkv/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _spec(name: str, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    for pattern, axes in RULES:
        if re.search(pattern, name) and len(axes) <= len(shape):
            fitting = [
                axis if axis and mesh.shape[axis] > 1 and size % mesh.shape[axis] == 0 else None
                for axis, size in zip(axes, shape, strict=False)
            ]
            return PartitionSpec(*fitting)
    return PartitionSpec()


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
