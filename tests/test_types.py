"""A wrong shape fails the type check, in every room with array functions."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from musclemap_jax import skeleton_layouts
from musclemap_jax.data import augmentation
from musclemap_jax.eval import average_precision, conformal, predictions
from musclemap_jax.models import class_tokens, distillation, fusion, outputs
from musclemap_jax.models.kernels import (
    depthwise_conv,
    dot_product_attention,
    flash_attention_tpu,
    fused_mlp_tpu,
    max_pool,
)
from musclemap_jax.models.layers import channel_matmul, drop_path, layer_norm, linear
from musclemap_jax.models.skeleton import edge_conv, hdgcn, hierarchical_conv, persons, skeleton_tokens
from musclemap_jax.models.video import mvit, patch_embed, relative_position, video_input
from musclemap_jax.stress.perturbations import joint_noise, tilt
from musclemap_jax.train import losses, objective
from tests.no_augmentation import NO_AUGMENTATION

ones = jnp.ones
POSES = np.ones((8, 2, 19, 3), np.float32)
RNG = np.random.default_rng(0)

WRONG_SHAPES = {
    "layers: layer_norm": lambda: layer_norm.layer_norm(ones((2, 3)), ones(3), ones(2), 1, 1e-6),
    "layers: channel_matmul": lambda: channel_matmul.joint_matmul(ones((2, 5, 4)), ones((2, 3, 5, 6, 7))),
    "layers: drop_path": lambda: drop_path.scale_clips(ones((3, 2)), ones(2)),
    "layers: linear": lambda: linear.flattened_dot_general(ones((2, 3)), ones((4, 5)), (((1,), (0,)), ((), ()))),
    "kernels: depthwise_conv": lambda: depthwise_conv.depthwise_conv3d(
        ones((1, 2, 2, 2, 4)), ones((3, 3, 3, 5)), (1, 1, 1)
    ),
    "kernels: max_pool": lambda: max_pool.max_pool3d(ones((2, 2, 2, 4)), (1, 1, 1), (1, 1, 1)),
    "kernels: dot_product_attention": lambda: dot_product_attention.attend(
        ones((1, 2, 3, 4)), ones((1, 2, 5, 4)), ones((1, 2, 6, 4)), ones((5, 0))
    ),
    "kernels: flash_attention_tpu": lambda: flash_attention_tpu.flash_attention(
        *(ones((1, rows, 8)) for rows in (4, 1, 5, 6)),
        ones((6, 4)),
        ones((9, 4)),
        query_grid=(1, 2, 2),
        key_grid=(1, 2, 2),
        epsilon=1e-6,
        vmem_bytes=None,
    ),
    "kernels: fused_mlp_tpu": lambda: fused_mlp_tpu.fused_mlp(
        *map(ones, ((1, 3, 16), (1,), (16,), (16,), (16, 128), (128,), (120, 16), (16,))), epsilon=1e-6, vmem_bytes=None
    ),
    "video: mvit": lambda: mvit.MViT().init(jax.random.key(0), ones((4, 16, 16, 3))),
    "video: patch_embed": lambda: patch_embed.PatchEmbed(8, (3, 3, 3), (1, 1, 1)).init(
        jax.random.key(0), ones((4, 16, 16, 3))
    ),
    "video: relative_position": lambda: relative_position.position_terms(
        ones((1, 2, 2, 2, 1, 4)), (ones((3, 4)), ones((3, 4)), ones((3, 5))), (2, 2, 2)
    ),
    "video: video_input": lambda: video_input.normalised_rgb(jnp.ones((2, 4, 4, 2), jnp.uint8)),
    "skeleton: persons": lambda: persons.mean_over_persons(ones((6, 1, 4)), ones(6)),
    "skeleton: edge_conv": lambda: edge_conv.EdgeConv(4, 3).init(jax.random.key(0), ones((2, 5, 4)), False),
    "skeleton: hierarchical_conv": lambda: hierarchical_conv.HierarchyAttention(hdgcn.HDGCNSpec().graph, 3).init(
        jax.random.key(0), ones((4, 5, 19)), False
    ),
    "skeleton: skeleton_tokens": lambda: skeleton_tokens.SkeletonTokens().init(
        jax.random.key(0), ones((3, 4, 8)), ones((8, 19, 2, 1))
    ),
    "models: class_tokens": lambda: class_tokens.split_token_sets(ones((2, 4)), 2),
    "models: distillation": lambda: distillation.distillation_loss(
        ones((2, 3, 4)), ones((2, 3, 5)), clip_valid=ones(2)
    ),
    "models: fusion": lambda: fusion.FUSIONS["sum"]().apply({}, ones((2, 3, 4)), ones((2, 2, 4))),
    "train: losses": lambda: losses.sigmoid_bce(ones((2, 3)), ones((2, 4)), ones(2)),
    "train: objective": lambda: objective.objective(
        outputs.ModelOutput(ones((2, 3)), {}, {}), ones((2, 3)), ones((2, 1)), objective.ObjectiveSpec()
    ),
    "data: augmentation": lambda: augmentation.augment_poses(POSES[0], NO_AUGMENTATION, RNG),
    "data: augmentation, video": lambda: augmentation.flip_video(np.ones((4, 4, 3), np.uint8)),
    "eval: average_precision": lambda: average_precision.per_region_average_precision(
        np.ones((3, 2)), np.ones((3, 3)), np.ones(3)
    ),
    "eval: predictions": lambda: predictions.from_padded(
        np.ones((2, 3)), np.ones((2, 3)), np.ones(3), np.arange(3), ["a", "b", "c"]
    ),
    "eval: conformal": lambda: conformal.recall_threshold(np.ones((2, 3)), np.ones((2, 4)), ["a", "b"], 0.9),
    "stress: tilt": lambda: tilt.rotate_frames(np.ones((4, 4, 3), np.float32), 90),
    "stress: joint_noise": lambda: joint_noise.trunk_lengths(POSES[0], "coco19"),
    "skeleton_layouts": lambda: skeleton_layouts.convert(np.ones((17, 2)), "coco17", "coco19"),
}


@pytest.mark.parametrize("call", WRONG_SHAPES.values(), ids=WRONG_SHAPES.keys())
def test_a_wrong_shape_fails(call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


def test_a_wrong_dtype_fails():
    with pytest.raises(jaxtyping.TypeCheckError):
        video_input.normalised_rgb(ones((2, 4, 4, 3)))
