"""Weights of labels: values computed by hand, and what reaches the objective."""

import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.train.label_weights import LabelCounts, LabelWeights, label_weights
from musclemap_jax.train.losses import LOSSES
from musclemap_jax.train.objective import ObjectiveSpec, objective

COUNTS = LabelCounts(10, (8, 2, 0))


def test_positives_weigh_as_much_as_negatives_are_more():
    weights = label_weights("positives", 0.0, (), COUNTS)
    # 2 of 8, 8 of 2; a region that no clip shows counts as shown by one.
    np.testing.assert_allclose(weights.positive, (0.25, 4.0, 9.0))
    np.testing.assert_allclose(weights.negative, (1.0, 1.0, 1.0))


def test_class_balanced_weights_are_inverse_effective_numbers_with_mean_one():
    weights = label_weights("class_balanced", 0.5, (), LabelCounts(10, (1, 2, 3)))
    # (1 - 0.5^n) / (1 - 0.5): 1, 1.5 and 1.75 effective clips; their inverses sum to 47 / 21.
    expected = np.array([1.0, 2 / 3, 4 / 7]) * 3 / (47 / 21)
    np.testing.assert_allclose(weights.positive, expected)
    np.testing.assert_allclose(weights.negative, expected)
    np.testing.assert_allclose(label_weights("class_balanced", 0.0, (), COUNTS).positive, (1.0, 1.0, 1.0))


def test_given_weights_multiply_those_of_the_positives():
    assert label_weights("none", 0.0, (), COUNTS) is None
    assert label_weights("none", 0.0, (3.0,), COUNTS) == LabelWeights((3.0, 3.0, 3.0), (1.0, 1.0, 1.0))
    np.testing.assert_allclose(label_weights("positives", 0.0, (1.0, 2.0, 0.5), COUNTS).positive, (0.25, 8.0, 4.5))
    with pytest.raises(ValueError, match=r"^expected 1 or 3 positive weights, got 2$"):
        label_weights("none", 0.0, (1.0, 2.0), COUNTS)


def test_weights_of_soft_labels_are_between_both():
    weights = LabelWeights((4.0, 1.0), (2.0, 1.0)).of(jnp.array([[1.0, 0.0], [0.25, 1.0]]))
    np.testing.assert_allclose(weights, [[4.0, 1.0], [2.5, 1.0]])


def test_the_objective_weighs_the_prediction_and_each_branch():
    logits = jnp.zeros((1, 2))
    output = ModelOutput(logits, {"video": logits, "skeleton": logits}, {})
    labels, weights = jnp.array([[1.0, 0.0]]), LabelWeights((3.0, 1.0), (1.0, 1.0))
    spec = ObjectiveSpec(branch_weight=0.5)
    # log 2 for each label, the positive one three times: twice log 2 in the mean, for the prediction and both branches.
    total, terms = objective(output, labels, jnp.ones(1, bool), spec, weights)
    parts = [terms[name] for name in ("loss_fused", "loss_video", "loss_skeleton")]
    np.testing.assert_allclose(parts, [2 * np.log(2)] * 3, rtol=1e-6)
    np.testing.assert_allclose(total, 4 * np.log(2), rtol=1e-6)


def test_a_loss_that_takes_no_weights_is_refused_with_them(monkeypatch):
    monkeypatch.setitem(LOSSES, "own", lambda logits, labels, clip_valid: jnp.zeros(()))
    ObjectiveSpec(kind="own")
    with pytest.raises(UserError, match="'own' does not take weights of labels: let it take `weights`"):
        ObjectiveSpec(kind="own", balance="positives")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balance": "inverse"}, "balance: expected one of none, positives, class_balanced, got 'inverse'"),
        ({"balance_beta": 1.0}, r"balance_beta: expected a number in \[0, 1\), got 1.0"),
        ({"positive_weights": (1.0, 0.0)}, r"positive_weights must be positive, got \(1.0, 0.0\)"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=f"config.loss.{message}"):
        ObjectiveSpec(**settings)
