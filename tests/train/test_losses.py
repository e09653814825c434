"""Losses against the released code's numbers, with gradients; masks; extremes."""

from __future__ import annotations

import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.train.losses import LOSSES, Asymmetric, sigmoid_bce, softmax_bce
from musclemap_jax.train.objective import ObjectiveSpec

GOLDEN = Path(__file__).parents[1] / "data" / "goldens" / "losses.npz"
ALL_LOSSES = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def value_and_gradient(loss):
    return jax.jit(jax.value_and_grad(loss))


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as stored:
        return dict(stored)


@pytest.mark.parametrize(
    ("loss", "key", "is_sum"),
    [(sigmoid_bce, "bce_logit", False), (softmax_bce, "focal_loss_multilabel", False), (Asymmetric(), "ASL", True)],
)
def test_values_and_gradients_of_the_released_code(golden, loss, key, is_sum):
    logits, labels = golden["logits"], golden["labels"]
    value, gradient = value_and_gradient(loss)(jnp.asarray(logits), jnp.asarray(labels), jnp.ones(len(logits)))
    # The released asymmetric loss sums over clips and regions, ours is a mean.
    scale = logits.size if is_sum else 1
    np.testing.assert_allclose(scale * value, golden[f"loss_{key}"], rtol=2e-6)
    np.testing.assert_allclose(scale * gradient, golden[f"loss_{key}_grad"], rtol=2e-5, atol=2e-7 * scale)


def test_hand_computed_value():
    logits = jnp.array([[0.0, jnp.log(3.0)]])
    labels = jnp.array([[1.0, 0.0]])
    # Probabilities 1/2 and 3/4: the mean of log 2 and log 4.
    np.testing.assert_allclose(sigmoid_bce(logits, labels, jnp.ones(1)), (np.log(2) + np.log(4)) / 2, rtol=1e-6)
    # Softmax 1/4 and 3/4: -log(1/4) twice.
    np.testing.assert_allclose(softmax_bce(logits, labels, jnp.ones(1)), np.log(4), rtol=1e-6)
    # p = 1/2: (1 - p) log 2; negative shifted to 0.7: 0.7^4 * -log(0.3).
    expected = (0.5 * np.log(2) - 0.7**4 * np.log(0.3)) / 2
    np.testing.assert_allclose(Asymmetric()(logits, labels, jnp.ones(1)), expected, rtol=1e-6)
    # Other parameters: p = 1/2: (1 - p)^2 log 2; negative shifted to 0.55: 0.55 * -log(0.45).
    expected = (0.25 * np.log(2) - 0.55 * np.log(0.45)) / 2
    np.testing.assert_allclose(Asymmetric(2.0, 1.0, 0.2)(logits, labels, jnp.ones(1)), expected, rtol=1e-6)


@ALL_LOSSES
def test_padding_changes_neither_the_loss_nor_the_gradient(golden, loss):
    logits, labels = golden["logits"], golden["labels"]
    padding = np.full_like(logits[:2], np.nan)
    padded = jnp.asarray(np.concatenate([logits, padding])), jnp.asarray(np.concatenate([labels, padding]))
    valid = jnp.asarray(np.arange(len(padded[0])) < len(logits))
    value, gradient = value_and_gradient(loss)(*padded, valid)
    expected, expected_gradient = value_and_gradient(loss)(
        jnp.asarray(logits), jnp.asarray(labels), jnp.ones(len(logits), bool)
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient[: len(logits)], expected_gradient, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(gradient[len(logits) :], 0)


@ALL_LOSSES
def test_without_a_valid_clip_it_is_zero(loss):
    value, gradient = value_and_gradient(loss)(jnp.full((2, 3), jnp.nan), jnp.ones((2, 3)), jnp.zeros(2))
    assert float(value) == 0.0
    np.testing.assert_array_equal(gradient, 0)


@ALL_LOSSES
def test_extreme_logits_stay_finite_and_pull_the_right_way(loss):
    logits = jnp.array([[200.0, -200.0, 200.0, -200.0]])
    labels = jnp.array([[0.0, 1.0, 1.0, 0.0]])
    value, gradient = value_and_gradient(loss)(logits, labels, jnp.ones(1))
    assert np.isfinite(value)
    assert float(value) > 10
    assert np.isfinite(gradient).all()
    # Beyond p = 1 - 1e-7 the gradient of the asymmetric loss is that of a constant.
    assert float(gradient[0, 0]) > 0 or isinstance(loss, Asymmetric)
    assert float(gradient[0, 1]) < 0


def test_asymmetric_loss_without_focus_and_margin_is_binary_cross_entropy(golden):
    logits, labels, valid = jnp.asarray(golden["logits"]), jnp.asarray(golden["labels"]), jnp.ones(6)
    plain = Asymmetric(gamma_positive=0.0, gamma_negative=0.0, margin=0.0)(logits, labels, valid)
    np.testing.assert_allclose(plain, sigmoid_bce(logits, labels, valid), rtol=1e-6)


@ALL_LOSSES
def test_half_precision_logits_are_computed_in_float32(golden, loss):
    logits = jnp.asarray(golden["logits"]).astype(jnp.bfloat16)
    labels, valid = jnp.asarray(golden["labels"]), jnp.ones(6)
    value = jax.jit(loss)(logits, labels, valid)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, loss(logits.astype(jnp.float32), labels, valid), rtol=1e-6)


@ALL_LOSSES
def test_weights_scale_each_element_and_padding_still_counts_nothing(golden, loss):
    logits, labels, valid = jnp.asarray(golden["logits"]), jnp.asarray(golden["labels"]), jnp.ones(6)
    one_at_a_time = [
        float(loss(logits, labels, valid, weights=jnp.zeros(logits.shape).at[0, region].set(2.0)))
        for region in range(3)
    ]
    together = loss(logits, labels, valid, weights=jnp.zeros(logits.shape).at[0, :3].set(2.0))
    np.testing.assert_allclose(together, sum(one_at_a_time), rtol=1e-5)
    np.testing.assert_allclose(
        loss(logits, labels, valid, weights=jnp.full(logits.shape, 3.0)), 3 * loss(logits, labels, valid), rtol=1e-6
    )
    weights = jnp.ones(logits.shape).at[-1].set(jnp.nan)
    alone, slope = jax.value_and_grad(loss)(logits[:-1], labels[:-1], valid[:-1])
    padded, padded_slope = jax.value_and_grad(loss)(logits, labels, valid.at[-1].set(0), weights=weights)
    np.testing.assert_allclose(padded, alone, rtol=1e-6)
    np.testing.assert_allclose(padded_slope[:-1], slope, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(padded_slope[-1], 0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gamma_positive": 0.5}, "gamma_positive: expected 0 or a number of at least 1, got 0.5"),
        ({"margin": 1.0}, r"margin: expected a probability in \[0, 1\), got 1.0"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(UserError, match=f"^config.loss.parameters.asymmetric.{message}$"):
        Asymmetric(**parameters)


def test_shapes_and_names_that_do_not_fit_are_refused():
    unchecked = inspect.unwrap(sigmoid_bce)  # without the suite's type check, which would find it first
    with pytest.raises(ValueError, match=r"got \(2, 3\), \(2, 3\) and \(2, 1\)"):
        unchecked(jnp.zeros((2, 3)), jnp.zeros((2, 3)), jnp.ones((2, 1)))
    with pytest.raises(UserError, match="expected one of sigmoid_bce, softmax_bce, asymmetric, got 'focal'"):
        ObjectiveSpec(kind="focal")
