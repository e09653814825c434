"""The branch on statistics of poses: which regions see what, standardisation, mixed clips, persons, bad settings."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.biomechanics.statistics import biomechanical_statistics, joint_statistics
from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import OWN_WEIGHT
from musclemap_jax.models.skeleton.pose_statistics import (
    NUM_STATISTICS,
    PoseStatistics,
    PoseStatisticsSpec,
    RunningStandardisation,
    spans,
    statistics_of_spans,
)
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.skeleton_layouts import LAYOUTS
from musclemap_jax.taxonomy import MUSCLE_REGIONS

JOINTS = LAYOUTS["coco19"].joints
OF_ARMS = np.isin(
    MUSCLE_REGIONS, ["chest", "shoulder", "biceps", "triceps", "forearms", "upper back", "latissimus", "wrists"]
)
MODEL = ModelSpec(branches=("pose_statistics",), sites="none", fusion="by_region", head_dropout_rate=0.0)


def _joints(*parts):
    return [joint for joint, name in enumerate(JOINTS) if name.endswith(parts)]


@pytest.fixture(scope="module")
def batch():
    """Four clips of one person, every joint present."""
    poses = np.random.default_rng(0).standard_normal((4, 8, 1, 19, 3)).astype(np.float32)
    poses[..., 2] = 0.5
    return {"skeleton": poses, "skeleton_valid": np.ones((4, 8, 1), bool)}


@pytest.fixture(scope="module")
def trained(batch):
    """A model's compiled `apply`, and its variables with running moments of the batch."""
    model = TransM3E(MODEL)
    variables = jax.jit(model.init)(jax.random.key(0), batch)

    @jax.jit
    def moments(variables, key):
        return model.apply(variables, batch, train=True, mutable=["batch_stats"], rngs={"dropout": key})[1]

    for step in range(60):
        variables = {**variables, **moments(variables, jax.random.key(step))}
    return jax.jit(model.apply), variables


@pytest.mark.parametrize(("moved", "blind"), [(("elbow", "wrist"), ~OF_ARMS), (("knee", "ankle"), OF_ARMS)])
def test_a_regions_logit_depends_on_its_own_limbs_alone(trained, batch, moved, blind):
    apply, variables = trained
    other = batch["skeleton"].copy()
    other[:, :, :, _joints(*moved), :2] *= 1.5
    before, after = (apply(variables, {**batch, "skeleton": poses}) for poses in (batch["skeleton"], other))
    change = np.abs(after.logits - before.logits).max(axis=0)
    np.testing.assert_array_equal(change == 0, blind)


def test_statistics_are_those_of_the_linear_models(batch):
    compiled = jax.jit(statistics_of_spans, static_argnums=1)
    found = compiled(batch["skeleton"], PoseStatisticsSpec(num_windows=2))
    assert found.values.shape == (4, 1, 3, 2, NUM_STATISTICS)
    poses = batch["skeleton"][:, :, 0, :17].copy()
    for span, shown in enumerate((slice(0, 8), slice(0, 3), slice(5, 8))):
        for view, absent in enumerate((_joints("knee", "ankle"), _joints("elbow", "wrist"))):
            seen = poses[:, shown].copy()
            seen[:, :, absent] = 0
            parts = joint_statistics(seen), biomechanical_statistics(seen, np.float32(8))
            values, valid = (np.concatenate(kind, axis=-1) for kind in zip(*parts, strict=True))
            np.testing.assert_array_equal(found.valid[:, 0, span, view], valid)
            np.testing.assert_allclose(found.values[:, 0, span, view], values, atol=2e-3)


@pytest.mark.parametrize(
    ("num_poses", "num_windows", "expected"),
    [
        (32, 0, []),
        (32, 1, [(0, 11)]),
        (32, 4, [(0, 11), (7, 18), (14, 25), (21, 32)]),
        (64, 4, [(0, 22), (14, 36), (28, 50), (42, 64)]),
        (1, 2, [(0, 1), (0, 1)]),
    ],
)
def test_windows_of_a_third_lie_evenly_over_the_clip(num_poses, num_windows, expected):
    clip, *windows = spans(num_poses, num_windows)
    assert clip == slice(None)
    assert [(window.start, window.stop) for window in windows] == expected


def test_a_token_is_the_mean_over_the_clip_and_the_windows_in_which_the_person_is_seen(batch):
    spec = PoseStatisticsSpec(width=8, num_windows=2)
    poses, valid = batch["skeleton"].copy(), batch["skeleton_valid"].copy()
    poses[0, 5:], valid[0, 5:] = 0, False  # gone before the second window
    variables = jax.jit(PoseStatistics(spec, 20).init, static_argnames="train")(
        jax.random.key(0), poses, valid, train=False
    )

    @functools.partial(jax.jit, static_argnums=0)
    def tokens(spec, poses, valid):
        return PoseStatistics(spec, 20).apply(variables, poses, valid, train=False).final_classification

    def tokens_of(shown):
        """Of a span alone, at the speeds of the whole clip."""
        padded = np.zeros_like(poses)
        padded[:, : poses[:, shown].shape[1]] = poses[:, shown]
        return tokens(dataclasses.replace(spec, num_windows=0), padded, padded[..., 2].any(-1))

    found = tokens(spec, poses, valid)
    of_spans = [tokens_of(shown) for shown in (slice(0, 8), slice(0, 3), slice(5, 8))]
    np.testing.assert_allclose(found[1:], np.mean(of_spans, axis=0)[1:], atol=1e-4)
    np.testing.assert_allclose(found[0], np.mean(of_spans[:2], axis=0)[0], atol=1e-4)
    assert np.abs(of_spans[1] - of_spans[0]).max() > 0.01


def test_without_limb_views_every_region_sees_the_whole_body(batch):
    backbones = {"pose_statistics": PoseStatisticsSpec(limb_views=False)}
    model = TransM3E(dataclasses.replace(MODEL, backbones=backbones))
    variables = model.init(jax.random.key(0), batch)
    other = batch["skeleton"].copy()
    other[:, :, :, _joints("elbow", "ankle"), :2] *= 1.5
    before, after = (model.apply(variables, {**batch, "skeleton": poses}) for poses in (batch["skeleton"], other))
    assert (before.logits != after.logits).all()


def test_standardisation_is_over_the_rows_that_define_a_statistic():
    values = jnp.array([[[1.0, 5.0], [0.0, 2.0]], [[3.0, 7.0], [0.0, 4.0]], [[100.0, 9.0], [0.0, 90.0]]])
    valid = jnp.array([[[1, 1], [0, 1]], [[1, 1], [0, 1]], [[0, 1], [0, 0]]], bool)
    norm = RunningStandardisation()
    variables = norm.init(jax.random.key(0), values, valid, False)
    y, changed = norm.apply(variables, values, valid, True, mutable=["batch_stats"])
    third = np.sqrt(1.5)
    expected = [[[-1, -third], [0, -1]], [[1, 0], [0, 1]], [[0, third], [0, 0]]]
    np.testing.assert_allclose(y, expected, atol=1e-4)
    mean = changed["batch_stats"]["mean"]
    np.testing.assert_allclose(mean, 0.1 * np.array([[2, 7], [0, 3]]), atol=1e-5)
    np.testing.assert_allclose(changed["batch_stats"]["var"][1], [1.0, 0.9 + 0.1], atol=1e-5)


def test_an_outlier_is_cut_off():
    norm = RunningStandardisation()
    values, valid = jnp.full((1, 2, 3), 1e6), jnp.ones((1, 2, 3), bool)
    variables = norm.init(jax.random.key(0), values, valid, False)
    np.testing.assert_allclose(norm.apply(variables, values, valid, False), 6)


def test_a_mixed_clip_is_between_the_two(trained, batch):
    apply, variables = trained
    alone = apply(variables, batch).branches["pose_statistics"]
    same = apply(variables, {**batch, OWN_WEIGHT: jnp.ones(4)})
    np.testing.assert_array_equal(same.branches["pose_statistics"].final_classification, alone.final_classification)
    swapped = apply(variables, {**batch, OWN_WEIGHT: jnp.zeros(4)})
    np.testing.assert_allclose(
        swapped.branches["pose_statistics"].final_classification, alone.final_classification[::-1], atol=1e-5
    )
    half = apply(variables, {**batch, OWN_WEIGHT: jnp.array([0.5, 1.0, 1.0, 0.5])})
    np.testing.assert_allclose(half.logits[0], half.logits[3], atol=1e-5)
    np.testing.assert_array_equal(half.logits[1], same.logits[1])


def test_an_absent_person_has_no_part(batch):
    poses = np.concatenate([batch["skeleton"], np.zeros_like(batch["skeleton"])], axis=2)
    valid = np.concatenate([batch["skeleton_valid"], np.zeros_like(batch["skeleton_valid"])], axis=2)
    model = PoseStatistics(PoseStatisticsSpec(width=8), num_tokens=20, receiver=True)
    variables = jax.jit(model.init, static_argnames="train")(jax.random.key(0), poses, valid, train=False)
    apply = jax.jit(model.apply, static_argnames="train")
    one = apply(variables, batch["skeleton"], batch["skeleton_valid"], train=False)
    two = apply(variables, poses, valid, train=False)
    np.testing.assert_allclose(two.final_classification, one.final_classification, atol=1e-6)
    np.testing.assert_allclose(two.final_receiver, one.final_receiver, atol=1e-6)
    assert np.abs(one.final_receiver - one.final_classification).max() > 0
    nobody = apply(variables, 0 * poses, valid & False, train=False)
    assert not nobody.final_classification.any()


def test_gradients_reach_the_poses_and_are_finite(trained, batch):
    apply, variables = trained

    def logit(poses):
        return apply(variables, {**batch, "skeleton": poses}).logits[:, OF_ARMS].sum()

    poses = jnp.asarray(batch["skeleton"]).at[0].set(batch["skeleton"][0, :1])  # nothing moves
    gradient = jax.jit(jax.grad(logit))(poses)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[:, :, :, _joints("wrist")]).max() > 0
    assert not gradient[:, :, :, _joints("ankle")].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "pose_statistics.width: expected at least 1, got 0"),
        ({"dropout_rate": 1.0}, r"pose_statistics.dropout_rate: expected a number in \[0, 1\), got 1.0"),
        ({"num_windows": -1}, "pose_statistics.num_windows: must not be negative, got -1"),
        ({"input_dropout_rate": -0.1}, r"pose_statistics.input_dropout_rate: expected a number in \[0, 1\), got -0.1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        PoseStatisticsSpec(**settings)


@pytest.mark.parametrize(
    ("num_tokens", "message"),
    [
        (0, "num_tokens: the branch pose_statistics needs a class token for each muscle region, got 0"),
        (7, "num_tokens: a fusion by region needs a class token for each of the 20 regions, got 7"),
    ],
)
def test_it_needs_a_token_for_each_region(batch, num_tokens, message):
    with pytest.raises(UserError, match=message):
        TransM3E(dataclasses.replace(MODEL, num_tokens=num_tokens)).init(jax.random.key(0), batch)
