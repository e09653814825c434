"""Multiply-adds of a model from its shapes: what a step has to compute, whatever form computes it.

Counted as in the tables of MViTv2 (arXiv:2112.01526) and torchvision, which call them FLOPs: convolutions, matrix
products, attention and relative positions; no norms, activations, sums or softmax. One multiply-add is two floating
point operations; a training step takes three times the forward pass's, for the gradients of inputs and of weights.

Letters of shapes: T H W frames and pixels or a grid, N patch tokens, M class tokens in one set, P persons, V joints.
"""

from __future__ import annotations

import math

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.models.fusion import MCTF
from musclemap_jax.models.kernels.sliding_windows import Triple, strided_grid
from musclemap_jax.models.skeleton.graph import NUM_SUBSETS
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.skeleton.temporal_conv import NUM_BRANCHES
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.models.video.pooling_attention import BlockSpec
from musclemap_jax.taxonomy import NUM_REGIONS

COLOURS = 3
FLOW_CHANNELS = 2
COORDINATES = 3
FLOPS_PER_MULTIPLY_ADD = 2
BACKWARD_PER_FORWARD = 2
"""The gradient of a product is two products of the same size."""


def mvit_multiply_adds(spec: MViTSpec, input_size: Triple, num_tokens: int = 1, channels: int = COLOURS) -> int:
    """Forward pass of MViTv2 on one view, without a head.

    Args:
      spec: the architecture.
      input_size: frames, height and width.
      num_tokens: class tokens of all sets.
      channels: of the input; optical flow has two.
    """
    grid = spec.patch_grid(input_size)
    total = math.prod(grid) * spec.embed_dim * channels * math.prod(spec.patch_kernel)
    for block in spec.blocks():
        total += _block(block, grid, num_tokens)
        grid = strided_grid(grid, block.q_stride)
    return total


def _block(spec: BlockSpec, grid: Triple, num_tokens: int) -> int:
    query_grid, key_grid = strided_grid(grid, spec.q_stride), strided_grid(grid, spec.kv_stride)
    patches, queries, keys = math.prod(grid), math.prod(query_grid), math.prod(key_grid)
    incoming, outgoing = patches + num_tokens, queries + num_tokens
    widened = incoming * spec.dim_in * spec.dim_out if spec.dim_in != spec.dim_out else 0
    project = incoming * spec.dim_in * 3 * spec.dim_out
    pool = math.prod(spec.pool_kernel) * spec.dim_out * (queries + 2 * keys)
    attend = 2 * outgoing * (keys + num_tokens) * spec.dim_out
    positions = queries * sum(key_grid) * spec.dim_out
    merge = outgoing * spec.dim_out**2
    mlp = 2 * outgoing * spec.dim_out * int(spec.dim_out * spec.mlp_ratio)
    return widened + project + pool + attend + positions + merge + mlp


def hdgcn_multiply_adds(spec: HDGCNSpec, num_poses: int, num_persons: int, num_tokens: int = 0) -> int:
    """Forward pass of HD-GCN on one clip, without a head.

    Args:
      spec: the architecture.
      num_poses: poses over the clip.
      num_persons: persons; absent ones are computed too.
      num_tokens: class tokens of all sets, 0 for none.
    """
    joints = spec.graph.num_joints
    width, token_width, total = COORDINATES, spec.widths[0], 0
    for index, (features, stride) in enumerate(zip(spec.widths, spec.strides, strict=True)):
        places, num_poses = joints * num_poses, -(-num_poses // stride)
        total += _graph_conv(spec, width, features, places, attention=index > 0)
        total += _temporal_conv(spec, features, places, joints * num_poses)
        if index and (width != features or stride != 1):
            total += joints * num_poses * width * features
        if num_tokens:
            last = index + 1 == spec.num_units
            total += _token_exchange(num_tokens, token_width, features, joints, returns_joints=not last)
            token_width = features
        width = features
    return total * num_persons


def _graph_conv(spec: HDGCNSpec, width: int, features: int, places: int, attention: bool) -> int:
    """`places`: joints times poses."""
    joints, hierarchies, inner = spec.graph.num_joints, spec.graph.num_hierarchies, features // (NUM_SUBSETS + 1)
    down = hierarchies * width * inner
    subsets = hierarchies * NUM_SUBSETS * inner * (inner + joints)
    shortcut = width * features if width != features else 0
    edge = hierarchies * _edge_conv(joints, inner, spec.joint_neighbours)
    total = places * (down + subsets + shortcut) + edge
    if attention:
        total += hierarchies * joints * features * inner + hierarchies * inner * features
        total += _edge_conv(hierarchies, inner, spec.hierarchy_neighbours)
    return total


def _edge_conv(vertices: int, width: int, neighbours: int) -> int:
    """Distances and a convolution of [difference; vertex], which is computed once a vertex for each of its halves."""
    return vertices**2 * width + 2 * vertices * width**2 + min(neighbours, vertices) * vertices**2 * width


def _temporal_conv(spec: HDGCNSpec, features: int, places: int, strided_places: int) -> int:
    quarter = features // NUM_BRANCHES
    reduce = features * quarter * ((NUM_BRANCHES - 1) * places + strided_places)
    return reduce + len(spec.dilations) * spec.kernel_size * quarter**2 * strided_places


def _token_exchange(tokens: int, token_width: int, width: int, joints: int, returns_joints: bool) -> int:
    key_width = max(width // 2, 1)
    attend = tokens * token_width * key_width + joints * width * (key_width + width) + tokens * joints * key_width
    total = attend + tokens * joints * width + tokens * token_width * width
    return total + (joints * tokens * width + joints * width**2 if returns_joints else 0)


def fusion_multiply_adds(kind: str, num_tokens: int, width: int) -> int:
    """Fusion of one branch's two sets of M tokens, by its name in `fusion.KINDS`."""
    linear, attend = num_tokens * width**2, num_tokens**2 * width
    if kind == "mctf":
        attention = 6 * linear + 4 * attend + 6 * attend + 6 * linear + 3 * linear
        return attention + int(2 * linear * MCTF.mlp_ratio)
    if kind == "concat":
        return 2 * linear
    if kind == "self_attention":
        return 2 * 4 * linear + 2 * 4 * attend
    if kind == "cross_attention":
        return 4 * linear + 2 * attend
    return 0


def branch_multiply_adds(spec: ModelSpec, inputs: InputSpec, num_views: int = 1) -> dict[str, int]:
    """Forward pass of one clip by branch, each with its fusion and head.

    Args:
      spec: the model.
      inputs: frames, crop, poses and persons.
      num_views: views of a clip: 1 in training.
    """
    counts = {}
    for name in spec.branches:
        sets = 2 if name in spec.taught else 1
        if name == "skeleton":
            width = spec.skeleton.widths[-1]
            count = hdgcn_multiply_adds(
                spec.skeleton, inputs.num_poses, inputs.num_persons, num_tokens=sets * spec.num_tokens
            )
            passes = 1
        else:
            width = spec.video.output_dim
            size = (inputs.num_frames, inputs.crop_size, inputs.crop_size)
            channels = FLOW_CHANNELS if name == "optical_flow" else COLOURS
            count = mvit_multiply_adds(spec.video, size, sets * (spec.num_tokens or 1), channels)
            passes = num_views
        if name in spec.weights:
            count += width * NUM_REGIONS
            count += fusion_multiply_adds(spec.fusion, spec.num_tokens, width) if name in spec.taught else 0
        counts[name] = count * passes
    return counts


def model_multiply_adds(spec: ModelSpec, inputs: InputSpec, num_views: int = 1) -> int:
    """Forward pass of the whole model on one clip; arguments as in `branch_multiply_adds`.

    Left out are the linear maps of distillation, which are in training alone and below a thousandth.
    """
    return sum(branch_multiply_adds(spec, inputs, num_views).values())


def training_flops(spec: ModelSpec, inputs: InputSpec) -> int:
    """Floating point operations of a training step for each clip: forward and backward, recomputation not counted.

    A frozen branch is run forward alone. Divided by the time and by the devices' peak this is the model FLOPs
    utilisation (MFU) of PaLM (arXiv:2204.02311, appendix B).
    """
    frozen = spec.second_branch if spec.second_branch_frozen else None
    return FLOPS_PER_MULTIPLY_ADD * sum(
        count * (1 if name == frozen else 1 + BACKWARD_PER_FORWARD)
        for name, count in branch_multiply_adds(spec, inputs).items()
    )
