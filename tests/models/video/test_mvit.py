"""MViTv2 against the published code: blocks, logits, gradients, parameter counts; and what must not matter."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.kernels.sliding_windows import strided_grid
from musclemap_jax.models.video.mvit import MVITV2_B, MVITV2_S, MViT, MViTSpec
from musclemap_jax.models.video.pooling_attention import split_channels
from tests.conftest import FUSED
from tests.models import goldens
from tests.models.stacking import stack_layers, unstack_layers

FORWARD, GRADIENT = 2e-5, 1e-4


def build(name):
    """Model, parameters and head of a tiny golden."""
    num_tokens, receiver = {"mvit_tiny": (1, False), "mct20_tiny": (20, False), "mct40_tiny": (20, True)}[name]
    params = goldens.to_flax(goldens.under(goldens.load(name), "p/"))
    head = params.pop("head")["projection"]
    return MViT(goldens.TINY_SPEC, num_tokens=num_tokens, receiver=receiver), params, head


def sequence(tokens, patches):
    """Class tokens and patches as the published code keeps them: (B, L + N, D)."""
    return np.concatenate([tokens, np.asarray(patches).reshape(*patches.shape[:1], -1, *patches.shape[4:])], axis=1)


def forward(model, params, head, video):
    """Output, intermediates, feature and logits."""
    output, state = model.apply({"params": params}, video, mutable=["intermediates"])
    feature = output.final_classification
    if output.final_receiver is not None:
        feature = (feature + output.final_receiver) / 2
    feature = feature.mean(axis=1)
    return output, state["intermediates"], feature, feature @ head["kernel"] + head["bias"][None]


@functools.cache
def run(name):
    """What `forward` gives for a tiny golden."""
    model, params, head = build(name)
    if name == "mvit_tiny":  # compiled together with its gradients
        return run_with_gradients()[0][1]
    video = goldens.channels_last(goldens.load(name)["x"])
    return jax.jit(functools.partial(forward, model))(params, head, video)


@functools.cache
def run_with_gradients():
    """((loss, what `forward` gives), gradients of parameters, head and video) of mvit_tiny."""
    golden = goldens.load("mvit_tiny_grads")
    model, params, head = build("mvit_tiny")

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
    def loss(params, head, video):
        output, intermediates, feature, logits = forward(model, params, head, video)
        patches = intermediates["final_patches"][0]
        normed = jnp.concatenate([output.final_classification, patches.reshape(2, -1, 64)], axis=1)
        value = jnp.sum(golden["w"] * logits) + jnp.sum(golden["w2"] * normed)
        return value, (output, intermediates, feature, logits)

    return loss(params, head, goldens.channels_last(goldens.load("mvit_tiny")["x"]))


def tokens_of(receiver, classification):
    return classification if receiver is None else np.concatenate([receiver, classification], axis=1)


@pytest.mark.parametrize("name", ["mvit_tiny", "mct20_tiny", "mct40_tiny"])
def test_every_block_equals_the_published_one(name):
    golden = goldens.load(name)
    output, intermediates, feature, logits = run(name)
    embedded = intermediates["embedded"][0]
    goldens.assert_close(embedded.reshape(2, -1, 16), golden["out/patch_embed"], FORWARD, "patch_embed")
    receivers = output.receiver or (None,) * 4
    for index, (receiver, classification) in enumerate(zip(receivers, output.classification, strict=True)):
        patches = intermediates[f"blocks_{index}"]["patches"][0]
        block = sequence(tokens_of(receiver, classification), patches)
        goldens.assert_close(block, golden[f"out/block{index:02d}"], FORWARD, f"block {index}")
    np.testing.assert_array_equal(output.features, patches.reshape(2, -1, 64))
    tokens = tokens_of(output.final_receiver, output.final_classification)
    normed = sequence(tokens, intermediates["final_patches"][0])
    goldens.assert_close(normed, golden["out/norm"], FORWARD, "norm")
    if "out/feat" in golden:
        goldens.assert_close(feature, golden["out/feat"], FORWARD, "feature")
    goldens.assert_close(logits, golden["out/logits"], FORWARD, "logits")
    goldens.assert_close(logits, golden["out/logits_f64"], FORWARD, "logits in float64")
    if "out/probs" in golden:
        goldens.assert_close(jax.nn.softmax(logits), golden["out/probs"], FORWARD, "probabilities")


@pytest.mark.parametrize("index", range(4))
def test_attention_equals_the_published_one(index):
    golden = goldens.load("mvit_tiny")
    _, intermediates, _, _ = run("mvit_tiny")
    block = f"block{index:02d}"
    sown = intermediates[f"blocks_{index}"]
    attention = sown["attn"]
    np.testing.assert_array_equal(sown["patches"][0].shape[1:4], golden[f"out/thw{index:02d}"])
    goldens.assert_close(sequence(*attention["output"][0]), golden[f"out/{block}_attn"], FORWARD, "output")
    for name, ours in (
        ("q", sequence(*attention["query"][0])),
        ("k", attention["key"][0]),
        ("v", attention["value"][0]),
    ):
        goldens.assert_close(np.swapaxes(ours, 1, 2), golden[f"aux/{block}_{name}"], FORWARD, name)
    logits = np.concatenate([attention["token_logits"][0], attention["patch_logits"][0]], axis=2)
    goldens.assert_close(logits, golden[f"aux/{block}_attn_logits"], FORWARD, "logits")


def test_every_gradient_equals_the_published_one():
    golden = goldens.load("mvit_tiny_grads")
    (value, (_, _, _, logits)), (d_params, d_head, d_video) = run_with_gradients()
    goldens.assert_close(value, golden["loss"], FORWARD, "loss")
    goldens.assert_close(np.sum(golden["w"] * logits), golden["loss_logits_only"], FORWARD, "loss of the logits")
    expected = goldens.under(golden, "g/")
    goldens.assert_close(d_video, goldens.channels_last(expected.pop("x")), GRADIENT, "video")
    ours = {**d_params, "head": {"projection": d_head}}
    goldens.assert_trees_close(ours, goldens.to_flax(expected), GRADIENT)


def num_parameters(spec):
    model = MViT(spec, num_tokens=1)
    video = jax.ShapeDtypeStruct((1, *spec.input_size, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), video)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_parameter_counts_are_the_published_ones():
    without_head = num_parameters(MVITV2_S)
    assert without_head + 20 * (768 + 1) == 34_245_524  # the published code, built
    assert without_head + 400 * (768 + 1) == 34_537_744  # torchvision's mvit_v2_s
    assert num_parameters(MVITV2_B) + 400 * (768 + 1) == 51_230_128  # PySlowFast's model zoo: 51.2 M


def test_full_size_s_gives_the_published_logits():
    golden = goldens.load("mvitv2s_full")
    arrays, video = goldens.full_size()
    assert sum(array.size for array in arrays.values()) == 34_245_524
    params = stack_layers(goldens.to_flax(arrays), MVITV2_S.block_groups(), "blocks_{}")
    head = params.pop("head")["projection"]
    model = MViT(MVITV2_S, num_tokens=1)
    output, sown, _, logits = jax.jit(functools.partial(forward, model))(params, head, goldens.channels_last(video))
    stages = ["patch_embed", *(f"block{index:02d}" for index in range(16)), "norm"]
    tokens = [None, *output.classification, output.final_classification]
    blocks = unstack_layers(sown, "blocks_{}")
    patches = [blocks[f"blocks_{index}"]["patches"][0] for index in range(16)]
    grids = [*sown["embedded"], *patches, *sown["final_patches"]]
    for stage, token, grid in zip(stages, tokens, grids, strict=True):
        x = np.asarray(grid).reshape(1, -1, grid.shape[-1]) if token is None else sequence(token, grid)
        statistics = [x.mean(dtype=np.float64), x.std(dtype=np.float64), np.abs(x).mean(dtype=np.float64)]
        goldens.assert_close(statistics, golden[f"{stage}/stats_mean_std_absmean"], FORWARD, stage)
        assert x.shape == tuple(golden[f"{stage}/shape"])
        goldens.assert_close(x[0, golden[f"{stage}/tokens"], :8], golden[f"{stage}/slice_tok_ch8"], FORWARD, stage)
    for stored in ("logits_f64", "logits_f32"):
        np.testing.assert_allclose(logits, golden[stored], rtol=0, atol=1e-4)
    goldens.assert_close(jax.nn.softmax(logits), golden["probs_f64"], FORWARD)


SMALL = MViTSpec(depth=2, embed_dim=8, stages=(1,), kv_stride=(1, 2, 2), input_size=(4, 24, 16), drop_path_rate=0.5)
AWKWARD = (3, 30, 21)


@functools.cache
def small_params():
    return goldens.random_parameters(MViT(SMALL, num_tokens=3, receiver=True), np.zeros((1, 4, 24, 16, 3), np.float32))


@functools.cache
def small_apply(**options):
    return jax.jit(MViT(SMALL, num_tokens=3, receiver=True, **options).apply)


def small_video(size):
    return np.random.default_rng(0).standard_normal((3, *size, 3)).astype(np.float32)


def test_remat_changes_nothing():
    spec = dataclasses.replace(SMALL, depth=1, stages=())
    video = small_video((2, 8, 8))
    params = goldens.random_parameters(MViT(spec), video)

    def gradients(remat):
        def value(params):
            return jnp.sum(MViT(spec, remat=remat).apply({"params": params}, video).final_classification ** 3)

        return jax.jit(jax.grad(value), compiler_options=FUSED)(params)

    for remat in ("blocks", "dots"):
        goldens.assert_trees_close(gradients(remat), gradients("none"), 1e-5)


def test_remat_keeps_less_for_the_backward_pass():
    video = jax.ShapeDtypeStruct((1, *AWKWARD, 3), jnp.float32)
    params = jax.eval_shape(MViT(SMALL).init, jax.random.key(0), video)

    def kept(remat):
        backward = jax.eval_shape(
            lambda params, video: jax.vjp(MViT(SMALL, remat=remat).apply, params, video)[1], params, video
        )
        return sum(leaf.size for leaf in jax.tree.leaves(backward))

    assert kept("blocks") < kept("dots") < kept("none")


def test_bfloat16_stays_near_float32_and_keeps_float32_parameters():
    model = MViT(SMALL, num_tokens=3, receiver=True, dtype=jnp.bfloat16)
    video = small_video(AWKWARD)
    params = jax.eval_shape(model.init, jax.random.key(0), video)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    narrow = small_apply(dtype=jnp.bfloat16)({"params": small_params()}, video)
    wide = small_apply()({"params": small_params()}, video)
    assert narrow.final_classification.dtype == jnp.bfloat16
    for a, b in zip(jax.tree.leaves(narrow), jax.tree.leaves(wide), strict=True):
        goldens.assert_close(a.astype(jnp.float32), b, 0.03)


def test_clips_do_not_see_one_another_at_an_awkward_size():
    video = small_video(AWKWARD)
    together = small_apply()({"params": small_params()}, video)
    other = small_apply()(
        {"params": small_params()}, video[::-1] * np.asarray([9, 1, 9], np.float32).reshape(3, 1, 1, 1, 1)
    )
    for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(together), strict=True):
        goldens.assert_close(a[1], b[1], 1e-6)
    assert np.abs(np.diff(together.final_receiver, axis=0)).max() > 1e-3


def test_drop_path_skips_whole_clips_and_keeps_the_mean():
    spec = dataclasses.replace(SMALL, depth=2, stages=(), drop_path_rate=0.5)
    model = MViT(spec, num_tokens=1)
    video = np.tile(small_video((2, 8, 8))[:1], (512, 1, 1, 1, 1))
    params = goldens.random_parameters(model, video)
    apply = jax.jit(functools.partial(model.apply, train=True))
    tokens = np.asarray(apply({"params": params}, video, rngs={"dropout": jax.random.key(2)}).classification[1][:, 0])
    # The first block never drops; of the second, both branches are dropped or kept: four outcomes, a quarter each.
    _, counts = np.unique(np.round(tokens, 2), axis=0, return_counts=True)
    assert sorted(counts, reverse=True)[:4] == sorted(counts, reverse=True)
    assert (np.abs(counts / 512 - 0.25) < 0.08).all()


def test_strides_and_grids_resolve_as_published():
    blocks = MVITV2_S.blocks()
    assert [block.dim_out for block in blocks] == [96, 192, 192] + [384] * 11 + [768] * 2
    assert [block.num_heads for block in blocks] == [1, 2, 2] + [4] * 11 + [8] * 2
    assert [block.kv_stride for block in blocks] == [(1, 8, 8)] + [(1, 4, 4)] * 2 + [(1, 2, 2)] * 11 + [(1, 1, 1)] * 2
    assert MVITV2_S.stage_ends == (0, 2, 13, 15)
    assert MVITV2_B.stage_ends == (1, 4, 20, 23)
    assert strided_grid((16, 224, 224), MVITV2_S.patch_stride) == (8, 56, 56)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": (3, 1)}, "stages: expected increasing"),
        ({"stages": (16,)}, "stages: expected increasing block numbers from 1 to 15"),
        ({"num_heads": 5}, "embed_dim: expected a multiple of num_heads=5"),
        ({"pool_kernel": (3, 2, 3)}, "pool_kernel: expected three odd sizes"),
        ({"stage_strides": ((1, 2, 2),)}, "stage_strides: expected 3 strides"),
        ({"kv_stride": (0, 8, 8)}, "strides"),
        ({"drop_path_rate": 1.0}, "drop_path_rate: expected a rate"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(MVITV2_S, **change)


def test_unknown_remat_is_refused():
    with pytest.raises(UserError, match="none, blocks"):
        MViT(SMALL, remat="all").init(jax.random.key(0), jnp.zeros((1, 4, 24, 16, 3)))


def test_channels_are_split_in_value_and_gradient():
    x = jnp.arange(24.0).reshape(2, 2, 6)
    parts, transpose = jax.vjp(lambda x: split_channels(x, 2), x)
    np.testing.assert_array_equal(parts[0], x[..., :2])
    np.testing.assert_array_equal(parts[1], x[..., 2:])
    np.testing.assert_array_equal(transpose(parts)[0], x)
