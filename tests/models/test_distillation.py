"""Distillation of class tokens against the published loss, and its sites."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.distillation import distillation_loss, distillation_sites
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
    with pytest.raises(UserError, match="dense, sparse, final, none"):
        distillation_sites("all", first_stage_ends=(1,), second_stage_ends=(1,))
