"""Distillation of class tokens against the published loss, and its sites."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.distillation import distillation_loss, distillation_sites, logit_distillation_loss
from musclemap_jax.models.video.mvit import MVITV2_B, MVITV2_S
from tests.models import goldens

VALID = jnp.ones(2, bool)
RELEASED_WEIGHT = 0.9


def sets():
    golden = goldens.load("losses")
    return jnp.asarray(golden["teacher"]), jnp.asarray(golden["student"])


def test_released_loss_and_gradient_equal_the_published_ones():
    golden = goldens.load("losses")
    sender, receiver = sets()

    def loss(receiver, sender):
        return RELEASED_WEIGHT * distillation_loss(sender, receiver, clip_valid=VALID, reduction="released")

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(receiver, sender)
    goldens.assert_close(value, golden["kd_official"], 2e-5)
    goldens.assert_close(gradients[0], golden["kd_official_grad_student"], 1e-4)
    assert not gradients[1].any()


@pytest.mark.parametrize(("axis", "stored", "length"), [("token", "tokendim", 20), ("channel", "chandim", 16)])
def test_axes_and_reductions_equal_the_published_ones(axis, stored, length):
    golden = goldens.load("losses")
    sender, receiver = sets()
    for reduction, factor in (("released", 1.0), ("sum", float(length))):
        ours = distillation_loss(sender, receiver, clip_valid=VALID, axis=axis, reduction=reduction)
        goldens.assert_close(RELEASED_WEIGHT * ours, factor * golden[f"kd_alt_{stored}_mean"], 2e-5, reduction)
    # PyTorch's batchmean: the sum over every element, by the number of clips.
    elements = 20 * 16
    ours = distillation_loss(sender, receiver, clip_valid=VALID, axis=axis, reduction="released")
    goldens.assert_close(RELEASED_WEIGHT * elements * ours, golden[f"kd_alt_{stored}_batchmean"], 2e-5)


def test_equal_sets_cost_nothing_and_others_something():
    sender, receiver = sets()
    assert abs(distillation_loss(sender, sender, clip_valid=VALID)) < 1e-6
    assert distillation_loss(sender, receiver, clip_valid=VALID) > 1e-4


def test_padding_does_not_count_whatever_it_holds():
    sender, receiver = sets()
    alone = distillation_loss(sender[:1], receiver[:1], clip_valid=jnp.ones(1))
    for value in (0.0, 1e4, np.inf, np.nan):
        padded_sender, padded_receiver = sender.at[1].set(value), receiver.at[1].set(value)

        def loss(receiver, sender=padded_sender):
            return distillation_loss(sender, receiver, clip_valid=jnp.asarray([1, 0]))

        padded, slope = jax.value_and_grad(loss)(padded_receiver)
        np.testing.assert_allclose(padded, alone, rtol=1e-6)
        assert not slope[1].any()
        assert np.isfinite(slope).all()
    assert distillation_loss(sender, receiver, clip_valid=jnp.zeros(2)) == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "mse"}, 2.0),  # 1 + 1
        ({"kind": "mse", "reduction": "released"}, 1.0),
        ({"kind": "mse", "normalization": "l2"}, 2 - 2 * 24 / 25),
        ({"kind": "mse", "normalization": "layer"}, 8.0),  # (-1, 1) and (1, -1)
        ({"kind": "cosine"}, 1 - 24 / 25),
        ({"kind": "cosine", "normalization": "layer"}, 2.0),
        # The softmax of (-1, 1) / tau and (1, -1) / tau: 2 / tau * (sigmoid(2 / tau) - sigmoid(-2 / tau)).
        ({"normalization": "layer", "tau": 1.0}, 2 * np.tanh(1)),
        ({"normalization": "layer", "tau": 2.0}, 4 * np.tanh(0.5)),
    ],
)
def test_distances_of_two_tokens(settings, expected):
    sender, receiver = jnp.array([[[3.0, 4.0]]]), jnp.array([[[4.0, 3.0]]])
    value = distillation_loss(sender, receiver, clip_valid=jnp.ones(1), axis="channel", **settings)
    np.testing.assert_allclose(value, expected, rtol=2e-5)


def test_the_axis_decides_which_angle():
    # Over tokens: (1, 0) and (0, 1) in the first channel, (0, 1) twice in the second; over channels the other way.
    sender, receiver = jnp.array([[[1.0, 0.0], [0.0, 1.0]]]), jnp.array([[[0.0, 0.0], [1.0, 1.0]]])
    loss = {
        axis: distillation_loss(sender, receiver, clip_valid=jnp.ones(1), kind="cosine", axis=axis)
        for axis in ("token", "channel")
    }
    np.testing.assert_allclose([loss["token"], loss["channel"]], [0.5, (1 + 1 - np.sqrt(0.5)) / 2], rtol=1e-5)


@pytest.mark.parametrize("kind", ["kl", "cosine", "mse"])
@pytest.mark.parametrize("normalization", ["none", "layer", "l2"])
def test_normalised_tokens_have_a_finite_gradient_also_in_padding_and_at_zero(kind, normalization):
    sender, receiver = sets()
    sender, receiver = sender.at[1].set(np.nan), receiver.at[1].set(np.nan).at[0, 0].set(0.0)

    def loss(receiver, scale=1.0):
        options = {"kind": kind, "normalization": normalization, "clip_valid": jnp.asarray([1, 0])}
        return distillation_loss(sender, scale * receiver, axis="channel", **options)

    value, slope = jax.value_and_grad(loss)(receiver)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert np.abs(slope[0, 1:]).max() > 0
    assert not slope[1].any()
    if normalization != "none" or kind == "cosine":  # the length of the tokens does not count
        np.testing.assert_allclose(loss(receiver, 10.0), value, rtol=1e-3)


def test_logits_teach_logits():
    teacher, student, valid = jnp.array([[np.log(3.0), 0.0]]), jnp.zeros((1, 2)), jnp.ones(1)
    divergence = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)  # of 3/4 and 1/4 from 1/2 and 1/2
    loss = logit_distillation_loss
    np.testing.assert_allclose(loss(teacher, student, clip_valid=valid), divergence / 2, rtol=1e-5)
    np.testing.assert_allclose(loss(teacher, student, clip_valid=valid, link="softmax"), divergence, rtol=1e-5)
    twice = loss(2 * teacher, student, clip_valid=valid, tau=2.0)
    np.testing.assert_allclose(twice, 4 * divergence / 2, rtol=1e-5)
    padded = jnp.concatenate([teacher, jnp.full((1, 2), jnp.nan)]), jnp.full((2, 2), jnp.nan).at[0].set(0.0)

    def of_padded(teacher, student):
        return loss(teacher, student, clip_valid=jnp.asarray([True, False]))

    value, slopes = jax.value_and_grad(of_padded, argnums=(0, 1))(*padded)
    np.testing.assert_allclose(value, divergence / 2, rtol=1e-5)
    assert not slopes[0].any()
    # The gradient in the student's logit is (sigmoid(student) - sigmoid(teacher)) / K.
    np.testing.assert_allclose(slopes[1], [[-0.125, 0.0], [0.0, 0.0]], atol=1e-6)


def test_sites_of_the_paper():
    ends = {"first_stage_ends": MVITV2_S.stage_ends, "second_stage_ends": (3, 6, 9)}
    dense = distillation_sites("dense", **ends)
    assert dense == ((1, 0), (2, 1), (4, 2), (5, 3), (7, 4), (9, 5), (10, 6), (12, 7), (13, 8), (15, 9))
    assert distillation_sites("sparse", **ends) == ((2, 3), (13, 6), (15, 9))
    assert distillation_sites("final", **ends) == ((15, 9),)
    assert distillation_sites("none", **ends) == ()


def test_equal_branches_meet_block_by_block():
    ends = {"first_stage_ends": MVITV2_B.stage_ends, "second_stage_ends": MVITV2_B.stage_ends}
    assert distillation_sites("dense", **ends) == tuple((block, block) for block in range(24))
    assert distillation_sites("sparse", **ends) == ((1, 1), (4, 4), (20, 20), (23, 23))


def test_a_shallow_first_branch_has_no_site_before_its_first_layer():
    sites = distillation_sites("dense", first_stage_ends=(0, 1), second_stage_ends=(9,))
    assert [block for block, _ in sites] == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]


def test_unknown_names_are_refused():
    sender, receiver = sets()
    with pytest.raises(UserError, match="token, channel"):
        distillation_loss(sender, receiver, clip_valid=VALID, axis="time")
    with pytest.raises(UserError, match="sum, released"):
        distillation_loss(sender, receiver, clip_valid=VALID, reduction="mean")
    with pytest.raises(UserError, match="distillation kind: expected one of kl, cosine, mse, got 'l1'"):
        distillation_loss(sender, receiver, clip_valid=VALID, kind="l1")
    with pytest.raises(UserError, match="distillation normalization: expected one of none, layer, l2, got 'batch'"):
        distillation_loss(sender, receiver, clip_valid=VALID, normalization="batch")
    with pytest.raises(UserError, match="dense, sparse, final, none"):
        distillation_sites("all", first_stage_ends=(1,), second_stage_ends=(1,))
