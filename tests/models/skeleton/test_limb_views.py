"""Limb views: which class tokens see which joints; weights; what a model without class tokens is told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.setup import for_regions
from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.skeleton.limb_views import weights_of_views, without_limbs
from musclemap_jax.models.skeleton.multiply_adds import hdgcn_multiply_adds
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.skeleton_layouts import LAYOUTS
from musclemap_jax.taxonomy import MUSCLE_REGIONS

LAYOUT = LAYOUTS["coco19"]
SPEC = HDGCNSpec(widths=(8, 8), limb_views=True, streams=("joint", "biomechanics"))
OF_ARMS = np.isin(
    MUSCLE_REGIONS, ["chest", "shoulder", "biceps", "triceps", "forearms", "upper back", "latissimus", "wrists"]
)


def _joints(*parts):
    return [joint for joint, name in enumerate(LAYOUT.joints) if name.endswith(parts)]


@pytest.fixture(scope="module")
def poses():
    """Two clips of two persons, every joint present."""
    rng = np.random.default_rng(0)
    poses = rng.standard_normal((2, 8, 2, 19, 3)).astype(np.float32)
    poses[..., 2] = 0.5
    return poses


@pytest.mark.parametrize(("moved", "blind"), [(("elbow", "wrist"), ~OF_ARMS), (("knee", "ankle"), OF_ARMS)])
def test_tokens_do_not_depend_on_the_limbs_of_others(poses, moved, blind):
    model, valid = HDGCN(SPEC, num_tokens=20, receiver=True), np.ones((2, 8, 2), bool)
    variables = model.init(jax.random.key(0), poses, valid, False)
    other = poses.copy()
    other[:, :, :, _joints(*moved), :2] += 1
    before, after = (model.apply(variables, each, valid, False) for each in (poses, other))
    for name in ("final_classification", "final_receiver"):
        change = np.abs(getattr(after, name) - getattr(before, name)).max(axis=(0, 2))
        np.testing.assert_array_equal(change == 0, blind, err_msg=name)
    for layer, changed in zip(before.classification, after.classification, strict=True):
        np.testing.assert_array_equal(np.abs(changed - layer).max(axis=(0, 2)) == 0, blind)


def test_every_view_lacks_one_kind_of_limb_and_nothing_else(poses):
    views = without_limbs(jnp.asarray(poses), LAYOUT)
    assert views.shape == (2, 8, 4, 19, 3)
    legs, arms = _joints("knee", "ankle"), _joints("elbow", "wrist")
    assert (len(legs), len(arms)) == (4, 4)
    for view, absent in ((views[:, :, :2], legs), (views[:, :, 2:], arms)):
        assert not view[:, :, :, absent].any()
        kept = [joint for joint in range(19) if joint not in absent]
        np.testing.assert_array_equal(view[:, :, :, kept], poses[:, :, :, kept])


def test_weights_of_each_token_are_those_of_the_persons_of_its_view():
    weights = weights_of_views(jnp.array([[0.5, 0.5], [1.0, 0.0]]), num_tokens=3, num_sets=2, arm_regions=(1,))
    assert weights.shape == (2, 4, 6)
    np.testing.assert_array_equal(weights[1, :, 1], [1, 0, 0, 0])  # of the arms: persons without legs
    np.testing.assert_array_equal(weights[1, :, 3], [0, 0, 1, 0])  # first token of the second set
    np.testing.assert_allclose(weights.sum(1), 1)


def test_regions_of_its_own_have_to_say_which_are_the_arms():
    def check(regions, spec, num_tokens=None):
        model = ModelSpec(branches=("skeleton",), backbones={"hdgcn": spec}, num_tokens=num_tokens)
        return for_regions(ExperimentSpec(model=model), regions).model.num_regions

    own = ("grip", "calf")
    assert check(MUSCLE_REGIONS, SPEC) == 20
    with pytest.raises(UserError, match=r"hdgcn\.arm_regions: the data set has muscle regions of its own: .* grip"):
        check(own, SPEC)
    assert check(own, dataclasses.replace(SPEC, arm_regions=(0,))) == 2
    with pytest.raises(UserError, match=r"arm_regions: expected indices from 0 to 1, got \(0, 2\)"):
        check(own, dataclasses.replace(SPEC, arm_regions=(0, 2)))
    assert check(own, dataclasses.replace(SPEC, limb_views=False)) == 2
    with pytest.raises(UserError, match=r"num_tokens: limb views need a class token for each of 20 .* got 1: set it"):
        check(MUSCLE_REGIONS, SPEC, num_tokens=1)


def test_they_need_class_tokens_and_cost_twice(poses):
    with pytest.raises(
        UserError, match=r"limb_views: expected a class token for each muscle region, got config.model.num_tokens 0"
    ):
        HDGCN(SPEC).init(jax.random.key(0), poses, np.ones((2, 8, 2), bool), False)
    shapes = [(8, 2, 19, 3), (8, 2)]
    plain = dataclasses.replace(SPEC, limb_views=False)
    assert hdgcn_multiply_adds(SPEC, shapes, 20) == 2 * hdgcn_multiply_adds(plain, shapes, 20)
