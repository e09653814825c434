"""The linear model: the conditions of its optimum, regions of one class, undefined statistics, and a late import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from musclemap_jax.eval.linear_model import STRENGTH, fit_linear_model
from tests.conftest import ROOT


def clips(num_clips=60, num_statistics=3):
    random = np.random.default_rng(0)
    statistics = random.normal(size=(num_clips, num_statistics)) * [1, 10, 100] + [0, 5, -7]
    labels = (statistics[:, :2] / [1, 10] + random.normal(size=(num_clips, 2)) > [0, 0.5]).astype(np.uint8)
    return statistics, labels


def test_each_region_is_a_logistic_regression_with_a_ridge_on_standardised_statistics():
    statistics, labels = clips()
    model = fit_linear_model(statistics, labels)
    rows = (statistics - statistics.mean(axis=0)) / statistics.std(axis=0)
    log_odds = rows @ model.weights + model.intercepts
    np.testing.assert_allclose(model.log_odds(statistics), log_odds, atol=1e-12)
    # At the optimum of STRENGTH * (log loss) + |weights|^2 / 2 the gradients vanish.
    residual = 1 / (1 + np.exp(-log_odds)) - labels
    np.testing.assert_allclose(STRENGTH * rows.T @ residual + model.weights, 0, atol=1e-3)
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-2)


def test_a_region_of_one_class_has_its_frequency():
    statistics, labels = clips(num_clips=4)
    labels = np.stack([labels[:, 0], np.ones(4, int), np.zeros(4, int)], axis=1)
    labels[:2, 0] = 0, 1
    log_odds = fit_linear_model(statistics, labels).log_odds(statistics)
    np.testing.assert_allclose(log_odds[:, 1], np.log(4.5 / 0.5))
    np.testing.assert_allclose(log_odds[:, 2], np.log(0.5 / 4.5))
    assert np.ptp(log_odds[:, 0]) > 0


def test_undefined_statistics_count_as_the_mean_and_far_ones_are_cut_off():
    statistics, labels = clips()
    missing = statistics.copy()
    missing[:10, 0] = np.nan
    without = np.column_stack([missing, np.full(len(missing), np.nan), np.ones(len(missing))])
    model = fit_linear_model(without, labels)
    assert np.isfinite(model.weights).all()
    assert not model.weights[3:].any()  # one that is never defined, and one that does not vary
    nothing = np.full((1, 5), np.nan)
    mean = np.append(np.nanmean(missing, axis=0), [3.0, 1.0])[None]
    np.testing.assert_allclose(model.log_odds(nothing), model.intercepts[None])
    np.testing.assert_allclose(model.log_odds(mean), model.intercepts[None], atol=1e-12)
    far, farther = (mean + np.array([[sign * 1e6, 0, 0, 0, 0]]) for sign in (1, 2))
    np.testing.assert_array_equal(model.log_odds(far), model.log_odds(farther))


def test_scikit_learn_is_loaded_by_a_fit_only():
    code = (
        "import sys; import musclemap_jax.main, musclemap_jax.experiment.run_baselines; "
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
