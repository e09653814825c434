"""Multiply-adds against published counts, and against the products of the traced model."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params

from musclemap_jax.cost import flops
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.fusion import FUSIONS
from musclemap_jax.models.skeleton.ctrgcn import CTRGCNSpec
from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.skeleton.multiply_adds import hdgcn_multiply_adds
from musclemap_jax.models.skeleton.stgcn import STGCNSpec
from musclemap_jax.models.transm3e import RELEASED, ModelSpec
from musclemap_jax.models.video.multiply_adds import mvit_multiply_adds
from musclemap_jax.models.video.mvit import MVITV2_B, MVITV2_S, MViT
from musclemap_jax.models.video.resnet_spec import C2D_R50, SLOWFAST_R50
from musclemap_jax.models.video.swin import SwinSpec

SMALL = HDGCNSpec(layout="ntu25", widths=(16, 32))


def traced_multiply_adds(function, *arguments):
    """Multiply-adds of all products and convolutions that a function consists of."""

    def count(jaxpr):
        total = 0
        for equation in jaxpr.eqns:
            out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
            if equation.primitive.name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                total += out * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            elif equation.primitive.name == "conv_general_dilated":
                kernel = equation.invars[1].aval.shape
                numbers = equation.params["dimension_numbers"].rhs_spec
                total += out * math.prod(kernel) // kernel[numbers[0]]
            inner = [count(inner) for inner in jaxprs_in_params(equation.params)]
            total += max(inner) if equation.primitive.name == "cond" else sum(inner)  # one form a platform
        return total

    return count(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_mvitv2_counts_are_the_published_ones():
    small = mvit_multiply_adds(MVITV2_S, [(16, 224, 224, 3)]) + MVITV2_S.output_dim * 400
    assert small == pytest.approx(64.224e9, rel=1e-4)  # torchvision 0.29, mvit_v2_s
    assert mvit_multiply_adds(MVITV2_B, [(32, 224, 224, 3)]) == pytest.approx(225e9, rel=0.01)  # arXiv:2112.01526


def test_hdgcn_count_is_that_of_the_published_code():
    count = hdgcn_multiply_adds(HDGCNSpec(layout="ntu25"), [(64, 2, 25, 3)])
    assert count == pytest.approx(1.82e9, rel=0.02)


def test_mvit_products_are_the_counted_ones(tiny_model_spec):
    spec = dataclasses.replace(tiny_model_spec.backbones["mvit"], embed_dim=96, depth=4, stages=(1, 3))
    model = MViT(spec, num_tokens=20, receiver=True)
    video = jax.ShapeDtypeStruct((1, 4, 16, 16, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), video)
    traced = traced_multiply_adds(model.apply, params, video)
    # Positions are part of the dot product, which is a little wider for it, and rows of tables are chosen by products.
    assert traced == pytest.approx(mvit_multiply_adds(spec, [(4, 16, 16, 3)], 40), rel=0.02)


@pytest.mark.parametrize("num_tokens", [0, 20])
def test_hdgcn_products_are_the_counted_ones(num_tokens):
    model = HDGCN(SMALL, num_tokens=num_tokens, receiver=num_tokens > 0)
    poses = jax.ShapeDtypeStruct((1, 16, 2, 25, 3), jnp.float32)
    valid = jax.ShapeDtypeStruct((1, 16, 2), jnp.bool_)
    params = jax.eval_shape(lambda p, v: model.init(jax.random.key(0), p, v, False), poses, valid)
    traced = traced_multiply_adds(lambda v, p, ok: model.apply(v, p, ok, False), params, poses, valid)
    assert hdgcn_multiply_adds(SMALL, [(16, 2, 25, 3)], 2 * num_tokens) == pytest.approx(traced, rel=0.01)


def test_products_of_additional_streams_are_counted():
    spec = HDGCNSpec(widths=(64, 64), streams=("joint", "bone", "biomechanics"))
    poses, valid = jax.ShapeDtypeStruct((1, 8, 1, 19, 3), jnp.float32), jax.ShapeDtypeStruct((1, 8, 1), jnp.bool_)
    alone = dataclasses.replace(spec, streams=("joint",))

    def counted(spec):
        model = HDGCN(spec)
        params = jax.eval_shape(lambda p, v: model.init(jax.random.key(0), p, v, False), poses, valid)
        traced = traced_multiply_adds(lambda v, p, ok: model.apply(v, p, ok, False), params, poses, valid)
        return hdgcn_multiply_adds(spec, [(8, 1, 19, 3)]), traced

    (count, traced), (count_alone, traced_alone) = counted(spec), counted(alone)
    # Eighteen channels into four hierarchies of width 16 and a shortcut of width 64, for each joint and pose. What the
    # channels themselves take (centres of mass) is a sum over joints, which is not counted.
    assert count - count_alone == 18 * (4 * 16 + 64) * 19 * 8
    assert traced - traced_alone == pytest.approx(count - count_alone, rel=0.05)


BASELINES = {
    "swin": SwinSpec(embed_dim=16, depths=(2, 1), num_heads=(1, 2), window_size=(2, 4, 4)),
    "slowfast": dataclasses.replace(SLOWFAST_R50, width=16, depths=(2, 1, 1, 1)),
    "c2d": dataclasses.replace(C2D_R50, width=16, depths=(1, 2, 1, 1)),
    "stgcn": STGCNSpec(widths=(16, 32)),
    "ctrgcn": CTRGCNSpec(widths=(16, 32)),
}


@pytest.mark.parametrize("num_tokens", [0, 5])
@pytest.mark.parametrize("name", BASELINES)
def test_baselines_products_are_the_counted_ones(name, num_tokens):
    branch, spec = BRANCHES[name], BASELINES[name]
    inputs = (jnp.zeros((1, 8, 42, 38, 3)),)
    if branch.modality == "skeleton":
        inputs = jnp.zeros((1, 16, 2, 19, 3)), jnp.ones((1, 16, 2), bool)
    model = branch.backbone.build(spec, num_tokens, num_tokens > 0, jnp.float32, "none", "branch")
    variables = jax.eval_shape(lambda *arrays: model.init(jax.random.key(0), *arrays, train=False), *inputs)
    traced = traced_multiply_adds(lambda *arrays: model.apply(*arrays, train=False), variables, *inputs)
    counted = branch.backbone.multiply_adds(spec, [array.shape[1:] for array in inputs], 2 * num_tokens)
    assert counted == pytest.approx(traced, rel=0.01)


@pytest.mark.parametrize("kind", FUSIONS)
def test_fusion_products_are_the_counted_ones(kind):
    tokens = jax.ShapeDtypeStruct((1, 20, 24), jnp.float32)
    fuse = FUSIONS[kind]()

    def arguments(tokens):
        """Attentive pooling counts its classification tokens alone."""
        return (tokens, None, tokens[:, :0]) if fuse.reads_features else (tokens, tokens)

    def call(function, tokens):
        names = ("classification", "receiver", "features")
        return function(**dict(zip(names, arguments(tokens), strict=False)))

    params = jax.eval_shape(lambda tokens: call(functools.partial(fuse.init, jax.random.key(0)), tokens), tokens)
    traced = traced_multiply_adds(
        lambda params, tokens: call(functools.partial(fuse.apply, params), tokens), params, tokens
    )
    assert traced == fuse.multiply_adds(20, 24)


def test_views_count_for_video_and_training_costs_three_forward_passes_of_what_is_trained():
    spec, inputs = ModelSpec(), InputSpec()
    one, five = flops.branch_multiply_adds(spec, inputs), flops.branch_multiply_adds(spec, inputs, num_views=5)
    assert five == {"video": 5 * one["video"], "skeleton": one["skeleton"]}
    assert flops.training_flops(spec, inputs) == 6 * flops.model_multiply_adds(spec, inputs)
    frozen = ModelSpec(**RELEASED)
    counts = flops.branch_multiply_adds(frozen, inputs)
    assert flops.training_flops(frozen, inputs) == 6 * counts["video"] + 2 * counts["rgb_diff"]
