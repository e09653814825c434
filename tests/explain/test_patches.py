"""Grad-CAM and attention of the video branches."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from scipy.special import softmax

from musclemap_jax.explain.patches import explained_branches, grad_cam, patch_evidence
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.models.video.resnet_spec import ResNetSpec
from musclemap_jax.models.video.swin import SwinSpec

ONE = {"sites": "none", "fusion": "none", "head_dropout_rate": 0.0}
MVIT = MViTSpec(depth=4, embed_dim=8, stages=(1,), kv_stride=(1, 2, 2), input_size=(4, 16, 16), drop_path_rate=0.0)
SWIN = SwinSpec(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 4, 4), drop_path_rate=0.0)
C2D = ResNetSpec(width=8, depths=(1, 1), kernels=((1,), (1,), (1,)))
SPECS = {
    # Blocks 2 and 3 are equal, so they are one module with stacked variables.
    "stacked": ModelSpec(branches=("video",), backbones={"mvit": MVIT}, **ONE),
    "published": ModelSpec(branches=("video",), backbones={"mvit": MVIT}, num_tokens=0, **ONE),
    "swin": ModelSpec(branches=("swin",), backbones={"swin": SWIN}, **ONE),
    "pooled": ModelSpec(branches=("c2d",), backbones={"c2d": C2D}, num_tokens=0, **ONE),
}
REGION = 7

evidence_of = jax.jit(patch_evidence, static_argnums=(0, 3))


def run(module, variables, batch, **options):
    return jax.jit(functools.partial(module.apply, **options))(variables, batch)


def test_grad_cam_by_hand():
    patches = jnp.array([[1.0, 2.0], [3.0, -1.0]]).reshape(1, 1, 1, 2, 2)
    gradient = jnp.array([[0.5, 1.0], [1.5, -3.0]]).reshape(1, 1, 1, 2, 2)
    # Mean gradients of the channels: 1 and -1.
    np.testing.assert_allclose(grad_cam(patches, gradient).ravel(), [0.0, 4.0])


@pytest.mark.parametrize("name", SPECS)
def test_the_heat_map_has_the_gradient_of_finite_differences(name, explained):
    module, variables, batch = explained(SPECS[name])
    (branch,) = explained_branches(module.spec)
    reading = BRANCHES[branch].backbone.reading(module.spec.architecture(branch), module.spec.tokens_per_set)
    path = (branch, *reading.module, "read_patches")
    _, sown = run(module, variables, batch, mutable=["intermediates"])
    (patches,) = traverse_util.flatten_dict(sown["intermediates"])[path]
    step = 0.02

    def logit(channel, sign):
        ones = jnp.zeros(patches.shape).at[(*reading.layer, ..., channel)].set(sign * step)
        taps = traverse_util.unflatten_dict({path: ones})
        return module.apply(variables | {"taps": taps}, batch).branch_logits[branch][:, REGION]

    read = np.asarray(patches[reading.layer])
    channels = jnp.arange(read.shape[-1])
    rise = jax.jit(jax.vmap(lambda channel: logit(channel, 1.0) - logit(channel, -1.0)))(channels)
    weights = np.asarray(rise).T / (2 * step) / np.prod(read.shape[1:4])  # (clips, channels)
    expected = np.maximum(np.einsum("bthwd,bd->bthw", read, weights), 0)
    heat = np.asarray(evidence_of(module, variables, batch, branch, REGION).heat)
    assert heat.shape == (2, 1, *read.shape[1:4])
    np.testing.assert_allclose(heat[:, 0], expected, atol=0.03 * expected.max())
    assert expected.max() > 1e-4


def test_the_attention_is_that_of_the_regions_own_token(tiny_model_spec, explained):
    """With two sets of tokens: the receiver's 20 come first."""
    module, variables, batch = explained(tiny_model_spec, num_views=2)
    _, sown = run(module, variables, batch, mutable=["intermediates"])
    (logits,) = sown["intermediates"]["video"]["blocks_1"]["attn"]["token_logits"]
    weights = softmax(np.asarray(logits), axis=-1).mean(1)
    evidence = evidence_of(module, variables, batch, "video", REGION)
    assert weights.shape[1] == 40
    attention = np.asarray(evidence.attention)
    np.testing.assert_allclose(attention.reshape(4, -1), weights[:, 20 + REGION, 40:], atol=1e-6)
    assert attention.shape == evidence.heat.shape == (2, 2, 2, 4, 4)
    assert 0 < attention.sum((2, 3, 4)).max() < 1


def test_a_single_class_token_is_everyones(explained):
    module, variables, batch = explained(SPECS["published"])
    first, second = (evidence_of(module, variables, batch, "video", region) for region in (0, 1))
    np.testing.assert_array_equal(first.attention, second.attention)
    assert np.abs(first.heat - second.heat).max() > 1e-5
    module, variables, batch = explained(SPECS["pooled"])
    assert jax.eval_shape(lambda: patch_evidence(module, variables, batch, "c2d", 0)).attention is None


def test_taps_change_nothing_and_are_no_variables(tiny_model_spec, explained):
    module, variables, batch = explained(tiny_model_spec)
    assert "taps" not in jax.eval_shape(lambda key: module.init(key, batch), jax.random.key(0))
    plain = run(module, variables, batch)
    output, _ = run(module, variables, batch, mutable=["intermediates"])
    np.testing.assert_allclose(plain.logits, output.logits, atol=1e-5)


def test_only_branches_that_answer_by_patches_are_explained(tiny_model_spec):
    assert explained_branches(tiny_model_spec) == ("video",)
    skeleton = dataclasses.replace(tiny_model_spec, branches=("skeleton",), sites="none", fusion="none")
    assert explained_branches(skeleton) == ()
    teacher = dataclasses.replace(
        tiny_model_spec, branches=("video", "rgb_diff"), second_branch_weight=0.0, directions="to_video"
    )
    assert explained_branches(teacher) == ("video",)
