"""Multiply-adds of HD-GCN from its shapes; counted as in cost/flops.py.

Letters of shapes: T_s poses, P persons, V joints.
"""

from __future__ import annotations

from collections.abc import Sequence

from musclemap_jax.models.skeleton.graph import NUM_SUBSETS
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec, UnitSpec
from musclemap_jax.models.skeleton.hierarchical_conv import num_channels
from musclemap_jax.models.skeleton.temporal_conv import NUM_BRANCHES

Shape = tuple[int, ...]


def hdgcn_multiply_adds(spec: HDGCNSpec, shapes: Sequence[Shape], num_tokens: int = 0) -> int:
    """Counts the forward pass of HD-GCN on one clip, without a head.

    Args:
      spec: The architecture.
      shapes: Shapes of the inputs for one clip, of which the first is (T_s, P, V, 3); absent persons are computed too.
      num_tokens: Class tokens of all sets together, 0 for none.
    """
    num_poses, num_persons = shapes[0][:2]
    joints, token_width, total = spec.graph.num_joints, spec.widths[0], 0
    for unit in spec.units():
        width, features = unit.features_in, unit.features
        positions, num_poses = joints * num_poses, -(-num_poses // unit.stride)
        total += _graph_conv(spec, width, features, positions, attention=not unit.is_first)
        total += _streams(spec, unit, positions)
        num_taps = len(spec.dilations) * spec.kernel_size
        total += multi_scale_temporal_conv(features, num_taps, positions, joints * num_poses)
        if not unit.is_first and not unit.preserves_shape:
            total += joints * num_poses * width * features
        if num_tokens:
            total += token_exchange(num_tokens, token_width, features, joints, returns_joints=not unit.is_last)
            token_width = features
    return total * num_persons


def _graph_conv(spec: HDGCNSpec, width: int, features: int, positions: int, attention: bool) -> int:
    """Counts one graph convolution; `positions` is joints times poses."""
    joints, hierarchies, inner = spec.graph.num_joints, spec.graph.num_hierarchies, features // (NUM_SUBSETS + 1)
    down = hierarchies * width * inner
    subsets = hierarchies * NUM_SUBSETS * inner * (inner + joints)
    shortcut = width * features if width != features else 0
    edge = hierarchies * _edge_conv(joints, inner, spec.joint_neighbours)
    total = positions * (down + subsets + shortcut) + edge
    if attention:
        total += hierarchies * joints * features * inner + hierarchies * inner * features
        total += _edge_conv(hierarchies, inner, spec.hierarchy_neighbours)
    return total


def _streams(spec: HDGCNSpec, unit: UnitSpec, positions: int) -> int:
    """Counts what additional input streams add to the first products of a graph convolution."""
    down = spec.graph.num_hierarchies * (unit.features // (NUM_SUBSETS + 1))
    shortcut = unit.features if unit.features_in != unit.features else 0
    return positions * num_channels(unit.streams) * (down + shortcut)


def _edge_conv(vertices: int, width: int, neighbours: int) -> int:
    """Counts distances and the convolution of [difference; vertex], whose halves are computed once per vertex."""
    return vertices**2 * width + 2 * vertices * width**2 + min(neighbours, vertices) * vertices**2 * width


def multi_scale_temporal_conv(features: int, num_taps: int, positions: int, strided_positions: int) -> int:
    """Counts the temporal convolution of four branches; `num_taps` are those of all convolutions over time."""
    quarter = features // NUM_BRANCHES
    reduce = features * quarter * ((NUM_BRANCHES - 1) * positions + strided_positions)
    return reduce + num_taps * quarter**2 * strided_positions


def token_exchange(tokens: int, token_width: int, width: int, joints: int, returns_joints: bool) -> int:
    """Counts the exchange between class tokens and joints after a unit."""
    key_width = max(width // 2, 1)
    attend = tokens * token_width * key_width + joints * width * (key_width + width) + tokens * joints * key_width
    total = attend + tokens * joints * width + tokens * token_width * width
    return total + (joints * tokens * width + joints * width**2 if returns_joints else 0)
