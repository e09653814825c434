"""Limb views: what each lacks; which regions see which; what a data set with regions of its own is told."""

import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.setup import for_regions
from musclemap_jax.models.skeleton.limb_views import regions_of_arms, without_limbs
from musclemap_jax.models.skeleton.pose_statistics import PoseStatisticsSpec
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.skeleton_layouts import LAYOUTS
from musclemap_jax.taxonomy import MUSCLE_REGIONS

LAYOUT = LAYOUTS["coco19"]
ARMS = ["chest", "shoulder", "biceps", "triceps", "forearms", "upper back", "latissimus", "wrists"]


def _joints(*parts):
    return [joint for joint, name in enumerate(LAYOUT.joints) if name.endswith(parts)]


def test_every_view_lacks_one_kind_of_limb_and_nothing_else():
    poses = np.random.default_rng(0).uniform(0.5, 1, (2, 8, 2, 19, 3)).astype(np.float32)
    views = without_limbs(jnp.asarray(poses), LAYOUT)
    assert views.shape == (2, 8, 4, 19, 3)
    legs, arms = _joints("knee", "ankle"), _joints("elbow", "wrist")
    assert (len(legs), len(arms)) == (4, 4)
    for view, absent in ((views[:, :, :2], legs), (views[:, :, 2:], arms)):
        assert not view[:, :, :, absent].any()
        kept = [joint for joint in range(19) if joint not in absent]
        np.testing.assert_array_equal(view[:, :, :, kept], poses[:, :, :, kept])


def test_regions_of_the_arms_are_musclemaps_unless_others_are_given():
    np.testing.assert_array_equal(regions_of_arms(20, None), np.isin(MUSCLE_REGIONS, ARMS))
    np.testing.assert_array_equal(regions_of_arms(3, (1,)), [False, True, False])
    assert not regions_of_arms(3, ()).any()


def test_regions_of_its_own_have_to_say_which_are_the_arms():
    def check(regions, num_tokens=None, **architecture):
        backbones = {"pose_statistics": PoseStatisticsSpec(**architecture)}
        model = ModelSpec(branches=("pose_statistics",), backbones=backbones, num_tokens=num_tokens)
        return for_regions(ExperimentSpec(model=model), regions).model.num_regions

    own = ("grip", "calf")
    assert check(MUSCLE_REGIONS) == 20
    with pytest.raises(
        UserError, match=r"statistics\.arm_regions: the data set has muscle regions of its own: .* grip"
    ):
        check(own)
    assert check(own, arm_regions=(0,)) == 2
    with pytest.raises(UserError, match=r"arm_regions: expected indices from 0 to 1, got \(0, 2\)"):
        check(own, arm_regions=(0, 2))
    assert check(own, limb_views=False) == 2
    with pytest.raises(UserError, match=r"num_tokens: limb views need a class token for each of 20 .* got 1: set it"):
        check(MUSCLE_REGIONS, num_tokens=1)
