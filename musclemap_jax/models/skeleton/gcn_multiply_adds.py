"""Multiply-adds of ST-GCN and CTR-GCN from their shapes; counted as in cost/flops.py.

Letters of shapes: T_s poses, P persons, V joints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from musclemap_jax.models.backbone import Shape
from musclemap_jax.models.skeleton.ctrgcn import CTRGCNSpec
from musclemap_jax.models.skeleton.gcn import GCNSpec
from musclemap_jax.models.skeleton.hdgcn import UnitSpec
from musclemap_jax.models.skeleton.multiply_adds import multi_scale_temporal_conv, token_exchange
from musclemap_jax.models.skeleton.spatial_graph import NUM_SUBSETS
from musclemap_jax.models.skeleton.stgcn import STGCNSpec

CTRGCN_TAPS = 10
"""Taps of both temporal convolutions of CTR-GCN."""


def stgcn_multiply_adds(spec: STGCNSpec, shapes: Sequence[Shape], num_tokens: int = 0) -> int:
    """Counts the forward pass of ST-GCN on one clip; arguments as in `hdgcn_multiply_adds`."""

    def unit(unit: UnitSpec, positions: int, strided: int) -> int:
        graph = positions * NUM_SUBSETS * unit.features_in * (spec.graph.num_joints + unit.features)
        return graph + strided * spec.kernel_size * unit.features**2

    return _units(spec, shapes, num_tokens, unit)


def ctrgcn_multiply_adds(spec: CTRGCNSpec, shapes: Sequence[Shape], num_tokens: int = 0) -> int:
    """Counts the forward pass of CTR-GCN on one clip; arguments as in `hdgcn_multiply_adds`."""
    joints = spec.graph.num_joints

    def unit(unit: UnitSpec, positions: int, strided: int) -> int:
        width, features, relation = unit.features_in, unit.features, spec.relation_width(unit.features_in)
        graph = positions * NUM_SUBSETS * features * (width + joints)
        edges = NUM_SUBSETS * joints * relation * (2 * width + joints * features)
        shortcut = positions * width * features if width != features else 0
        return graph + edges + shortcut + multi_scale_temporal_conv(features, CTRGCN_TAPS, positions, strided)

    return _units(spec, shapes, num_tokens, unit)


def _units(spec: GCNSpec, shapes: Sequence[Shape], num_tokens: int, count: Callable[[UnitSpec, int, int], int]) -> int:
    """Counts all units: `count` one's convolutions, from the joints of all poses before and after its stride."""
    num_poses, num_persons = shapes[0][:2]
    joints, token_width, total = spec.graph.num_joints, spec.widths[0], 0
    for unit in spec.units():
        positions, num_poses = joints * num_poses, -(-num_poses // unit.stride)
        total += count(unit, positions, joints * num_poses)
        if not unit.is_first and not unit.preserves_shape:
            total += joints * num_poses * unit.features_in * unit.features
        if num_tokens:
            total += token_exchange(num_tokens, token_width, unit.features, joints, returns_joints=not unit.is_last)
            token_width = unit.features
    return total * num_persons
