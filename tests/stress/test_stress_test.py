"""The stress test on models: the clean curve is the evaluation, and a branch that sees no change is flat, exactly."""

import numpy as np
import pytest

from musclemap_jax.eval.predictions import FUSED
from musclemap_jax.stress.batches import conditions_of
from musclemap_jax.stress.perturbations import PERTURBATIONS
from musclemap_jax.stress.stress_test import predict_stressed, stress_test

SPLITS = ("test_known", "test_new")
SEES = {"video": "video", "skeleton": "skeleton"}
"""Branch -> the modality that it reads."""


@pytest.fixture(scope="module")
def experiment(experiment_of):
    """TransM3E, with random parameters."""
    return experiment_of("transm3e")


@pytest.fixture(scope="module")
def stressed(experiment):
    """Predictions by condition of test_new, the clean ones first."""
    conditions = conditions_of(list(PERTURBATIONS.values()))
    return conditions, predict_stressed(experiment, "test_new", conditions)


def test_the_clean_curve_is_the_evaluation(experiment):
    robustness = stress_test(experiment, [PERTURBATIONS["mirror"]], SPLITS)
    evaluated = experiment.metrics({split: experiment.predict(split) for split in SPLITS})
    assert robustness.splits == [*SPLITS, "test_mean"]
    assert robustness.branches == [FUSED, *evaluated.branches]
    for split, headline in evaluated.headlines().items():
        clean = robustness.curve("mirror", split, FUSED)
        assert clean.mean_ap[0] == pytest.approx(headline.mean_ap, abs=1e-6)
        assert clean.intervals[0] == pytest.approx(headline.interval, abs=1e-6)
        for branch, of_branch in evaluated.branches.items():
            expected = pytest.approx(of_branch[split].mean_ap, abs=1e-6)
            assert robustness.curve("mirror", split, branch).mean_ap[0] == expected


def test_clean_predictions_are_those_of_the_evaluation(experiment, stressed):
    expected = experiment.predict("test_new")
    clean = stressed[1][0]
    np.testing.assert_allclose(clean.scores, expected.scores, rtol=0, atol=1e-6)
    assert clean.clip_ids == list(expected.clip_ids)
    assert clean.activities == list(expected.activities)
    np.testing.assert_array_equal(clean.labels, expected.labels)


def test_a_branch_is_flat_exactly_where_it_sees_no_change_and_only_there(stressed):
    conditions, (clean, *changed) = stressed
    assert len(changed) == len(conditions)
    for condition, predictions in zip(conditions, changed, strict=True):
        for branch, scores in predictions.branch_scores.items():
            same = (scores == clean.branch_scores[branch]).all()
            assert same == (SEES[branch] not in condition.perturbation.modalities), (condition, branch)
        assert (predictions.scores != clean.scores).any()


def test_stronger_changes_move_the_logits_further(stressed):
    conditions, (clean, *changed) = stressed
    for name in ("joint_noise", "darkness", "clutter"):
        moved = [
            np.abs(predictions.scores - clean.scores).mean()
            for condition, predictions in zip(conditions, changed, strict=True)
            if condition.perturbation.name == name
        ]
        assert moved[0] < moved[-1]


def test_a_run_without_a_skeleton_branch_has_its_one_curve(experiment_of):
    experiment = experiment_of("mvitv2_s")
    robustness = stress_test(experiment, [PERTURBATIONS["tilt"]], ["test_new"])
    assert robustness.splits == ["test_new"]
    assert robustness.branches == ["video"]
    assert len(robustness.curve("tilt", "test_new", "video").mean_ap) == 5
