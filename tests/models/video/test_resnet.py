"""C2D, I3D, Slow and SlowFast against PySlowFast's numbers, and what is ours."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.video.multiply_adds import resnet_multiply_adds
from musclemap_jax.models.video.resnet import ResNet, slow_frames
from musclemap_jax.models.video.resnet_spec import C2D_R50, I3D_R50, SLOW_R50, SLOWFAST_R50
from musclemap_jax.pretrained.architectures import make_architecture
from musclemap_jax.pretrained.published import branch_model, named_architecture
from musclemap_jax.pretrained.resnet_names import RESNET_NAMES
from tests.models import baseline_goldens as goldens

FULL = {"c2d": C2D_R50, "i3d": I3D_R50, "slow": SLOW_R50, "slowfast": SLOWFAST_R50}
TINY = {name: dataclasses.replace(spec, width=4, depths=(2, 2, 2, 2), beta_inv=4) for name, spec in FULL.items()}
TINY["slowfast"] = dataclasses.replace(SLOWFAST_R50, width=8, depths=(1, 1, 2, 1), beta_inv=4)


def architecture(name, specs):
    return named_architecture(name, branch_model(name, backbones={name: specs[name]}), RESNET_NAMES)


@functools.cache
def tiny_variables(name):
    return goldens.imported(architecture(name, TINY), goldens.packed(goldens.load(f"{name}_tiny"), "p"))


@functools.cache
def evaluate(name):
    return jax.jit(functools.partial(goldens.apply, ResNet(TINY[name]), name, False))


def stored_outputs(golden, mode):
    """Keys of the outputs of a mode, without that and without the number of values."""
    keys = {key.partition("|")[0].removeprefix(f"{mode}/") for key in golden if key.startswith(f"{mode}/")}
    return {key for key in keys if not key.startswith(("logits", "probs", "conv_", "new_norm"))}


def outputs(state, spec):
    """{published name: output} of the stem, the stages and the first block's branches."""
    sown, found = state["intermediates"], {}
    for stage, pathways in enumerate(sown["stage_output"]):
        for pathway, output in enumerate(pathways):
            suffix = f".p{pathway}" if spec.has_fast else ""
            found[f"s{stage + 1}{suffix}"] = output
    block = sown["s2"].get("pathway0_res0", sown["s2"].get("pathway0_res0_1"))
    found["s2.pathway0_res0.branch2"] = block["residual"][0]
    found["s2.pathway0_res0.branch1_bn"] = block["skip"][0]
    return {name: goldens.channels_first(output) for name, output in found.items()}


def check_outputs(state, spec, golden, mode):
    found = outputs(state, spec)
    known = stored_outputs(golden, mode)
    assert {name for name in known if "fuse" not in name and "pool" not in name} <= found.keys()
    for name in known & found.keys():
        goldens.assert_stored(found[name], golden, f"{mode}/{name}", goldens.FORWARD)


@pytest.mark.parametrize("name", TINY)
def test_outputs_in_evaluation_are_the_published_ones(name):
    golden = goldens.load(f"{name}_tiny")
    video = goldens.channels_last(golden["x"].astype(np.float32))
    logits, state = evaluate(name)(tiny_variables(name), video)
    check_outputs(state, TINY[name], golden, "eval")
    goldens.assert_stored(logits, golden, "eval/logits", goldens.FORWARD)
    goldens.assert_stored(logits, golden, "eval/logits_f64", goldens.FORWARD)
    goldens.assert_stored(jax.nn.softmax(logits), golden, "eval/probs", goldens.FORWARD)


@pytest.mark.parametrize("name", TINY)
def test_a_larger_crop_has_the_published_logits_at_every_position(name):
    golden, meta = goldens.load(f"{name}_tiny"), goldens.settings(f"{name}_tiny")
    frames = meta["cfg"]["DATA"]["NUM_FRAMES"]
    video = goldens.channels_last(goldens.drawn_input(f"xconv/{name}_tiny", (1, 3, frames, 48, 48)))
    variables = tiny_variables(name)
    logits, state = evaluate(name)(variables, video)
    positions = jnp.concatenate([each.mean(1) for each in state["intermediates"]["stage_output"][-1]], axis=-1)
    head = variables["params"][f"head_{name}"]
    at_positions = positions @ head["kernel"] + head["bias"][None, None, None]
    goldens.assert_stored(at_positions[:, None], golden, "eval/conv_logit_map", goldens.FORWARD)
    # PySlowFast averages probabilities over positions, we logits.
    goldens.assert_stored(jax.nn.softmax(at_positions).mean((1, 2)), golden, "eval/conv_probs", goldens.FORWARD)
    np.testing.assert_allclose(logits, at_positions.mean((1, 2)), atol=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_training_has_the_published_outputs_statistics_and_gradients(name):
    golden, meta = goldens.load(f"{name}_tiny_train"), goldens.settings(f"{name}_tiny_train")
    video = goldens.channels_last(goldens.load(f"{name}_tiny")["x"].astype(np.float32))
    run = functools.partial(goldens.apply, ResNet(TINY[name]), name, True)
    gradients, d_video, (logits, state) = goldens.gradients(run, tiny_variables(name), video)
    check_outputs(state, TINY[name], golden, "train")
    goldens.assert_stored(logits, golden, "train/logits", goldens.FORWARD)
    ours = goldens.published(RESNET_NAMES, {"batch_stats": {name: state["batch_stats"]}})
    expected = goldens.packed(golden, "new")
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(ours[key], value, rtol=0, atol=goldens.STATISTICS * max(1, np.abs(value).max()))
    goldens.assert_gradients(goldens.published(RESNET_NAMES, gradients), golden, meta, goldens.GRADIENT)
    goldens.assert_stored(goldens.channels_first(d_video), golden, "g/x", goldens.GRADIENT)


def test_the_batch_norms_have_the_published_epsilon():
    """On an input so small that it dominates."""
    name = "slowfast"
    golden = goldens.load(f"{name}_tiny_train")
    video = goldens.channels_last(goldens.load(f"{name}_tiny")["x"].astype(np.float32)) * 2.0**-9
    run = jax.jit(functools.partial(goldens.apply, ResNet(TINY[name]), name, True))
    _, state = run(tiny_variables(name), video)
    for pathway, output in enumerate(state["intermediates"]["stage_output"][0]):
        goldens.assert_stored(goldens.channels_first(output), golden, f"train_small/s1.p{pathway}", goldens.FORWARD)


@pytest.mark.parametrize("name", FULL)
def test_a_published_file_of_the_full_size_has_a_place_for_every_array(name):
    meta = goldens.settings("r50_recipe")["nets"][name]
    names = {key for key, _ in meta["params"]} | set(meta["new_names"])
    made = make_architecture(name)
    assert {entry.source for entry in made.entries} == names
    shapes = {key: tuple(shape) for key, shape in meta["params"]}
    for entry in made.entries:
        if entry.source in shapes and not entry.source.startswith("head."):
            assert entry.transform.fits(shapes[entry.source], made.shapes[entry.target][len(entry.index) :])


def test_the_full_slowfast_gives_the_published_logits():
    name, golden = "slowfast", goldens.load("r50_recipe")
    meta = goldens.settings("r50_recipe")["nets"][name]
    shapes = {key: tuple(shape) for key, shape in meta["params"]}
    arrays = {key: goldens.drawn_parameter(key, shape) for key, shape in shapes.items()}
    for key in meta["new_names"]:
        width = shapes[key.rpartition(".")[0] + ".weight"]
        arrays[key] = goldens.drawn_parameter(key, width)
    variables = goldens.imported(make_architecture(name), arrays)
    video = goldens.channels_last(goldens.drawn_input("x/slowfast_r50", (2, 3, 32, 64, 64)))
    logits, state = jax.jit(functools.partial(goldens.apply, ResNet(FULL[name]), name, False))(variables, video)
    golden = {key.removeprefix(f"{name}/"): value for key, value in golden.items() if key.startswith(f"{name}/")}
    check_outputs(state, FULL[name], golden, "eval")
    goldens.assert_stored(logits, golden, "eval/logits", goldens.FORWARD)
    np.testing.assert_allclose(logits[0], golden["eval/logits_f64_first"], atol=1e-4 * np.abs(logits[0]).max())


@pytest.mark.parametrize(
    ("name", "frames", "parameters", "counted"),
    [
        ("c2d", 8, 24_327_632, 19_492_372_480),
        ("i3d", 8, 28_043_472, 28_406_841_344),
        ("slow", 8, 32_454_096, 41_740_009_472),
        ("slowfast", 32, 34_566_488, 50_307_661_824),
    ],
)
def test_parameters_and_multiply_adds_are_the_published_ones(name, frames, parameters, counted):
    spec = FULL[name]
    video = jax.ShapeDtypeStruct((1, *spec.smallest_input, 3), jnp.float32)
    params = jax.eval_shape(ResNet(spec).init, jax.random.key(0), video)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) + 400 * (spec.output_dim + 1) == parameters
    assert resnet_multiply_adds(spec, [(frames, 224, 224, 3)]) == counted


@pytest.mark.parametrize(
    ("num_frames", "alpha", "frames"),
    [
        (32, 4, [0, 4, 8, 13, 17, 22, 26, 31]),
        (64, 8, [0, 9, 18, 27, 36, 45, 54, 63]),
        (32, 8, [0, 10, 20, 31]),
        (64, 4, [0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63]),
    ],
)
def test_slow_frames_reach_from_the_first_to_the_last(num_frames, alpha, frames):
    assert slow_frames(num_frames, alpha).tolist() == frames


@pytest.mark.parametrize(
    ("name", "message"), [("slowfast", "takes a multiple of 4 frames, got 6"), ("c2d", "at least 2")]
)
def test_a_number_of_frames_that_cannot_be_is_refused(name, message):
    video = jnp.zeros((1, 6 if name == "slowfast" else 1, 32, 32, 3))
    with pytest.raises(UserError, match=message):
        jax.eval_shape(ResNet(TINY[name]).init, jax.random.key(0), video)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernels": ((1,),)}, "kernels: expected sizes for the stem and 4 stages"),
        ({"fusion_kernel": 4}, "odd kernel sizes"),
        ({"depths": (0,)}, "at least 1"),
        ({"beta_inv": 7}, "beta_inv divides"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SLOWFAST_R50, **change)
