"""Mixup and CutMix: labels, pixels and joints by hand; draws; who is mixed with whom."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import resolve
from musclemap_jax.experiment.program import make_program
from musclemap_jax.models.branches import OWN_WEIGHT
from musclemap_jax.sharding.mesh import AXES, make_mesh, put_batch, replicated
from musclemap_jax.train.mixing import Mix, MixingSpec, draw_mix, mix_batch, mix_images, mix_poses, on_mixed_batch
from musclemap_jax.train.step import compile_train_step, split_batch
from tests.experiment.test_config import CONFIGS, load

BOTH = MixingSpec(mixup_alpha=0.8, cutmix_alpha=1.0)
MODEL = {"branches": ("video", "skeleton"), "modalities": ("video", "skeleton")}


@pytest.fixture
def seen_batch(tiny_batch):
    """A function (batch_size) -> random batch in which every joint is seen."""

    def make(batch_size):
        batch = tiny_batch(batch_size)
        batch["skeleton"][..., 2] = 0.1 + np.abs(batch["skeleton"][..., 2])
        return batch

    return make


def _mix(own, cut=False, box=(0, 0, 0, 0), place=0.0):
    """How a single clip is mixed."""
    return Mix(jnp.array([own]), jnp.array([cut]), jnp.array([box]), jnp.array([place]))


def _mixes(own, cut):
    num_clips = len(own)
    box = jnp.tile(jnp.array([[4, 8, 0, 16]]), (num_clips, 1))
    return Mix(jnp.array(own, jnp.float32), jnp.array(cut), box, jnp.zeros(num_clips))


def test_mixup_of_pixels_by_hand():
    own, partner = (np.full((1, 1, 2, 4, 4, 3), level, np.uint8) for level in (100, 200))
    np.testing.assert_array_equal(mix_images(own, partner, _mix(0.75)), 125)
    np.testing.assert_array_equal(mix_images(own, partner, _mix(0.996)), 100)  # 100.4
    np.testing.assert_array_equal(mix_images(own, partner, _mix(1.0)), own)


def test_cutmix_takes_one_rectangle_of_all_frames():
    own, partner = (np.full((1, 1, 2, 4, 6, 2), level, np.uint8) for level in (100, 200))
    mixed = mix_images(own, partner, _mix(0.75, cut=True, box=(1, 3, 2, 5)))
    expected = own.copy()
    expected[:, :, :, 1:3, 2:5] = 200
    np.testing.assert_array_equal(mixed, expected)


def test_mixup_of_joints_by_hand():
    own, partner = np.zeros((2, 1, 1, 1, 4, 3), np.float32)
    own[..., 0, :], partner[..., 0, :] = [1, 2, 0.8], [3, -2, 0.4]  # seen in both
    own[..., 1, :] = [1, 1, 0.8]  # in one
    partner[..., 2, :] = [-1, 1, 0.4]  # in the other
    mixed = mix_poses(own, partner, _mix(0.75))
    expected = [[1.5, 1, 0.7], [1, 1, 0.6], [-1, 1, 0.1], [0, 0, 0]]
    np.testing.assert_allclose(mixed[0, 0, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(mix_poses(own, partner, _mix(1.0)), own)


@pytest.mark.parametrize(("place", "taken"), [(0.0, [0, 1]), (0.5, [3, 4]), (0.99, [6, 7])])
def test_cutmix_takes_a_stretch_of_the_poses(place, taken):
    own, partner = (np.full((1, 8, 1, 2, 3), value, np.float32) for value in (1, 2))
    mixed = mix_poses(own, partner, _mix(0.75, cut=True, place=place))
    np.testing.assert_array_equal(np.flatnonzero(mixed[0, :, 0, 0, 0] == 2), taken)
    np.testing.assert_array_equal(mixed, np.where(mixed == 2, partner, own))


def test_labels_and_all_modalities_have_the_same_partner_and_weight(seen_batch):
    batch = seen_batch(4)
    own, cut = [0.25, 0.75, 0.5, 1.0], [False, True, False, False]
    mixed = mix_batch(batch, _mixes(own, cut), **MODEL)
    for clip in range(4):
        weight, partner = own[clip], 3 - clip
        labels = weight * batch["muscles"][clip] + (1 - weight) * batch["muscles"][partner]
        np.testing.assert_allclose(mixed["muscles"][clip], labels, rtol=1e-6)
        video = batch["video"].astype(np.float32)
        if cut[clip]:
            assert (mixed["video"][clip, :, :, 4:8] == batch["video"][partner, :, :, 4:8]).all()
            assert (mixed["video"][clip, :, :, 8:] == batch["video"][clip, :, :, 8:]).all()
            taken = (mixed["skeleton"][clip] == batch["skeleton"][partner]).all(axis=(1, 2, 3))
            kept = (mixed["skeleton"][clip] == batch["skeleton"][clip]).all(axis=(1, 2, 3))
            assert (taken.sum(), kept.sum()) == (2, 6)  # a quarter of 8 poses
        else:
            pixels = weight * video[clip] + (1 - weight) * video[partner]
            np.testing.assert_allclose(mixed["video"][clip], pixels, atol=0.51)
    np.testing.assert_array_equal(mixed["video"][3], batch["video"][3])
    np.testing.assert_array_equal(mixed["clip_index"], batch["clip_index"])
    assert mixed["video"].dtype == np.uint8


@pytest.mark.parametrize("num_parts", [1, 2, 4])
def test_a_clip_and_its_partner_are_in_one_part_of_the_batch(seen_batch, num_parts):
    """Features that a network itself mixes (`pose_statistics`) are those of the clips whose labels are mixed."""
    batch = seen_batch(8)
    batch["muscles"] = features = np.eye(8, 20, dtype=np.float32)
    mixed = mix_batch(batch, _mixes([0.25] * 8, [False] * 8), ("pose_statistics",), ("skeleton",))
    parts = split_batch({**mixed, "features": features}, num_parts)
    for own, x, muscles in zip(parts[OWN_WEIGHT], parts["features"], parts["muscles"], strict=True):
        np.testing.assert_allclose(own[:, None] * x + (1 - own[:, None]) * x[::-1], muscles)


def test_padding_and_clips_without_a_person_are_not_mixed(seen_batch):
    batch = seen_batch(6)
    batch["clip_valid"][5] = False  # the partner of 0
    batch["muscles"][5] = np.nan
    batch["skeleton"][5] = np.nan
    batch["skeleton"][1] = 0  # nobody, and its partner 4 has somebody
    batch["skeleton_valid"][1] = False
    mixed = mix_batch(batch, _mixes([0.5] * 6, [False, False, False, False, True, False]), **MODEL)
    for name in batch:
        for clip in (0, 1, 4):
            np.testing.assert_array_equal(mixed[name][clip], batch[name][clip], err_msg=f"{name} {clip}")
    assert (mixed["muscles"][2] != batch["muscles"][2]).any()
    alone = mix_batch(batch, _mixes([0.5] * 6, [False] * 6), branches=("video",), modalities=("video",))
    assert (alone["muscles"][1] == (batch["muscles"][1] + batch["muscles"][4]) / 2).all()


def test_where_nobody_is_seen_in_both_they_are_mixed(seen_batch):
    batch = seen_batch(2)
    batch["skeleton"][:], batch["skeleton_valid"][:] = 0, False
    mixed = mix_batch(batch, _mixes([0.5, 0.5], [False, False]), **MODEL)
    np.testing.assert_allclose(mixed["muscles"][0], batch["muscles"].mean(axis=0))
    assert not mixed["skeleton"].any()
    assert not mixed["skeleton_valid"].any()


def test_a_second_person_of_the_partner_is_seen_with_its_weight():
    batch = {
        "skeleton": np.zeros((2, 4, 2, 19, 3), np.float32),
        "muscles": np.zeros((2, 20), np.float32),
        "clip_valid": np.ones(2, bool),
    }
    batch["skeleton"][:, :, 0], batch["skeleton"][1, :, 1] = 1.0, 2.0
    batch["skeleton_valid"] = (batch["skeleton"][..., 2] > 0).any(-1)
    mixed = mix_batch(batch, _mixes([0.75, 1.0], [False, False]), ("skeleton",), ("skeleton",))
    np.testing.assert_allclose(mixed["skeleton"][0, 0, 1, 0], [2, 2, 0.5])
    assert mixed["skeleton_valid"][0].all()
    np.testing.assert_array_equal(mixed["skeleton"][1], batch["skeleton"][1])


@pytest.mark.parametrize("spec", [BOTH, MixingSpec(cutmix_alpha=1.0), MixingSpec(mixup_alpha=0.8)], ids=str)
def test_draws_are_those_of_the_settings(spec):
    draw = jax.jit(lambda key: draw_mix(key, 2000, 32, spec))
    mix = jax.device_get(draw(jax.random.key(0)))
    expected = 0.5 if spec == BOTH else float(spec.cutmix_alpha > 0)
    assert abs(mix.cut.mean() - expected) < 0.05
    assert ((mix.own >= 0) & (mix.own <= 1)).all()
    top, bottom, left, right = mix.box[mix.cut].T
    assert ((top >= 0) & (top <= bottom) & (bottom <= 32) & (left >= 0) & (left <= right) & (right <= 32)).all()
    np.testing.assert_allclose(mix.own[mix.cut], 1 - (bottom - top) * (right - left) / 32**2, atol=1e-6)
    by_mixup = mix.own[~mix.cut]
    if len(by_mixup):
        # Beta(0.8, 0.8): mean 1/2, variance 1 / (4 (2 * 0.8 + 1)).
        np.testing.assert_allclose([by_mixup.mean(), by_mixup.var()], [0.5, 1 / 10.4], rtol=0.1)
    weights = mix.pixel_weights(32, 32)
    np.testing.assert_allclose(weights.mean(axis=(1, 2)), mix.own, atol=1e-5)
    assert np.abs(mix.time_weights(64).mean(axis=1) - mix.own).max() <= 1 / 128 + 1e-5
    again, other = draw(jax.random.key(0)), draw(jax.random.key(1))
    np.testing.assert_array_equal(again.own, mix.own)
    assert (other.own != mix.own).any()


def test_probability_is_that_of_each_clip():
    mix = draw_mix(jax.random.key(0), 2000, 32, dataclasses.replace(BOTH, probability=0.25))
    assert abs((mix.own < 1).mean() - 0.25) < 0.05
    assert (mix.own[mix.cut] < 1).mean() > 0.9  # a rectangle may be empty


def _observed(state, batch):
    """A step that shows its batch."""
    return dataclasses.replace(state, step=state.step + 1), batch


def _state(step=0, seed=3):
    empty = {"params": {}, "batch_stats": {}, "opt_state": (), "ema": None, "skipped": jnp.int32(0)}
    return TrainState(step=jnp.int32(step), seed=jnp.uint32(seed), **empty)


def test_seed_and_step_alone_decide(seen_batch):
    step = jax.jit(on_mixed_batch(_observed, BOTH, 16, *MODEL.values()))
    batch = seen_batch(8)
    state, first = step(_state(), batch)
    _, second = step(state, batch)
    _, resumed = step(_state(step=1), batch)
    jax.tree.map(np.testing.assert_array_equal, second, resumed)
    for other in (first, step(_state(step=1, seed=4), batch)[1]):
        assert (other["muscles"] != second["muscles"]).any()
        assert (other["video"] != second["video"]).any()


@pytest.fixture(scope="module")
def means(tiny_batch):
    """Means of a batch's arrays after mixing, on one device."""
    _, mixed = jax.jit(on_mixed_batch(_observed, BOTH, 16, *MODEL.values()))(_state(), tiny_batch(8))
    return {name: value.astype(jnp.float32).mean() for name, value in mixed.items()}


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 2, 2)], ids=str)
def test_clips_are_mixed_alike_on_every_mesh_and_no_device_takes_the_whole_batch(means, tiny_batch, sizes):
    mesh = make_mesh(dict(zip(AXES, sizes, strict=True)), jax.devices())
    shardings = jax.tree.map(lambda _: replicated(mesh), _state())

    def step(state, batch):
        state, mixed = on_mixed_batch(_observed, BOTH, 16, *MODEL.values())(state, batch)
        return state, {name: value.astype(jnp.float32).mean() for name, value in mixed.items()}

    state, batch = jax.device_put(_state(), shardings), put_batch(tiny_batch(8), mesh)
    program = compile_train_step(step, shardings, mesh).lower(state, batch).compile()
    assert [line for line in program.as_text().splitlines() if " all-gather" in line and "u8[" in line] == []
    _, found = program(state, batch)
    jax.tree.map(lambda one, many: np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-6), means, found)


def test_what_cannot_be_mixed_is_refused_by_name():
    with pytest.raises(UserError, match=r"config.train.mixing: modality 'emg' cannot be mixed: enter"):
        on_mixed_batch(_observed, BOTH, 16, ("video",), ("video", "emg"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mixup_alpha": -1.0}, r"config.train.mixing.mixup_alpha: expected 0 \(off\) or more, got -1.0"),
        ({"cutmix_alpha": float("inf")}, "cutmix_alpha"),
        ({"probability": 1.5}, "config.train.mixing.probability: expected 0 <= value <= 1, got 1.5"),
        ({"cutmix_probability": float("nan")}, "cutmix_probability"),
    ],
)
def test_impossible_settings_are_refused_by_name(fields, message):
    with pytest.raises(UserError, match=message):
        MixingSpec(**fields)


def test_parts_with_an_odd_number_of_clips_are_refused_where_a_branch_mixes_pairs():
    config = load(CONFIGS[0].with_name("transm3e_plus.py"), "smoke")
    config.train.update(batch_size=12, grad_accum_steps=4)
    message = r"grad_accum_steps: branch pose_statistics mixes pairs .* got 12 / 4 = 3: make .* a multiple of 8"
    with pytest.raises(UserError, match=message):
        resolve(config)
    config.train.grad_accum_steps = 3
    resolve(config)


def test_distillations_gradient_is_that_of_the_mixed_batch(monkeypatch):
    mixing = []
    monkeypatch.setattr("musclemap_jax.experiment.program.on_mixed_batch", lambda function, *_: mixing.append(function))
    config = load(CONFIGS[0].with_name("transm3e_plus.py"), "smoke")
    config.train.kd_gradient_every = 1
    make_program(resolve(config), 5)
    assert [function.__name__ for function in mixing] == ["train_step", "kd_gradient"]


def test_it_is_off_unless_something_is_asked_for():
    assert not MixingSpec().is_on
    assert not dataclasses.replace(BOTH, probability=0.0).is_on
    assert MixingSpec(mixup_alpha=0.2).is_on
    assert MixingSpec(cutmix_alpha=1.0).is_on
