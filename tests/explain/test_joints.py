"""Importance of joints, and counterfactuals."""

import jax
import numpy as np
import pytest

from musclemap_jax.explain.counterfactuals import speaking_modalities
from musclemap_jax.explain.evidence import jitted_counterfactuals, region_evidence
from musclemap_jax.explain.joints import logits_without

REGION = 7

without_joints = jax.jit(logits_without, static_argnums=0)
run = jax.jit(lambda module, variables, batch: module.apply(variables, batch), static_argnums=0)


@pytest.fixture(scope="module")
def model(tiny_model_spec, explained):
    module, variables, batch = explained(tiny_model_spec, scale=1.0)
    batch["skeleton"][..., 2] = 0.9
    batch["skeleton"][1, :, :, 3] = 0  # absent in the second clip
    return module, variables, batch


def test_the_importance_is_the_length_of_the_gradient_over_poses(model):
    module, variables, batch = model

    @jax.jit
    def gradient(skeleton):
        def logits(poses):
            return module.apply(variables, batch | {"skeleton": poses}).branch_logits["skeleton"]

        return jax.grad(lambda poses: logits(poses)[:, REGION].sum())(skeleton)

    x, y, _ = np.moveaxis(np.asarray(gradient(batch["skeleton"]), np.float64), -1, 0)
    expected = np.sqrt(x**2 + y**2).sum((1, 2))
    assert expected.min() > 0
    expected[1, 3] = 0  # absent, though the network's gradient is not zero there
    found = region_evidence(module, variables, batch, REGION).joint_gradients
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3 * expected.max())


def test_a_joint_that_is_left_out_is_absent_from_every_pose(model):
    module, variables, batch = model
    absent = np.zeros((2, 19), bool)
    absent[0, 9], absent[1] = True, True
    without = batch["skeleton"].copy()
    without[:, :, :, 9] = 0
    expected = run(module, variables, batch | {"skeleton": without}).branch_logits["skeleton"]
    assert np.abs(expected - run(module, variables, batch).branch_logits["skeleton"]).max() > 1e-2
    found, present = without_joints(module, variables, batch, absent)
    assert list(found) == ["skeleton"]
    np.testing.assert_array_equal(present["skeleton"], [[True, True], [False, False]])
    np.testing.assert_allclose(found["skeleton"][0], expected, rtol=1e-4, atol=1e-4)
    nobody = {"skeleton": np.zeros_like(without), "skeleton_valid": np.zeros_like(batch["skeleton_valid"])}
    expected = run(module, variables, batch | nobody).branch_logits["skeleton"]
    np.testing.assert_allclose(found["skeleton"][1], expected, rtol=1e-4, atol=1e-4)


def test_without_a_modality_the_other_one_answers(model):
    module, variables, batch = model
    output = run(module, variables, batch)
    absent = np.eye(19, dtype=bool)[9:10]
    found = jitted_counterfactuals(module, variables, output, batch, absent)
    assert speaking_modalities(module.spec) == ("video", "skeleton")
    assert found.without_modality.keys() == {"video", "skeleton"}
    np.testing.assert_allclose(found.without_modality["skeleton"], output.branch_logits["video"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.without_modality["video"], output.branch_logits["skeleton"], rtol=1e-4, atol=1e-4)

    skeleton = without_joints(module, variables, batch, absent)[0]["skeleton"]
    both = (output.branch_logits["video"][None] + skeleton) / 2
    np.testing.assert_allclose(found.without_joints, both, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        found.skeleton_falls, output.branch_logits["skeleton"][None] - skeleton, rtol=1e-4, atol=1e-4
    )


def test_a_person_without_any_joint_is_answered_for_by_the_video(model):
    module, variables, batch = model
    everything = np.ones((1, 19), bool)
    output = run(module, variables, batch)
    found = jitted_counterfactuals(module, variables, output, batch, everything)
    video = output.branch_logits["video"]
    np.testing.assert_allclose(found.without_joints[0], video, rtol=1e-4, atol=1e-4)


def test_one_branch_explains_what_it_has(tiny_video_spec, explained):
    module, variables, batch = explained(tiny_video_spec)
    evidence = region_evidence(module, variables, {"video": batch["video"]}, REGION)
    assert list(evidence.patches) == ["video"]
    assert evidence.joint_gradients is None
    output = run(module, variables, batch)
    found = jitted_counterfactuals(module, variables, output, {"video": batch["video"]})
    assert found.without_modality == {}
    assert found.without_joints.shape == (0, 2, 20)
