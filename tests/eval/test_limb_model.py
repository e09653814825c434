"""Linear models by limbs: which regions see which statistics."""

import numpy as np

from musclemap_jax.eval.limb_model import fit_limb_model
from musclemap_jax.eval.linear_model import fit_linear_model

OF_ARMS = np.array([True, False, True])


def _clips(seed):
    rng = np.random.default_rng(seed)
    statistics = rng.standard_normal((60, 4)).astype(np.float32)
    labels = np.stack([statistics[:, 0] > 0, statistics[:, 2] > 0, statistics[:, 1] > 0], axis=1)
    return statistics, labels.astype(np.uint8)


def test_each_half_of_the_statistics_speaks_for_its_regions_alone():
    statistics, labels = _clips(0)
    model = fit_limb_model(statistics, labels, OF_ARMS)
    scores = model.log_odds(statistics)
    other = statistics.copy()
    other[:, 2:] = -other[:, 2:]
    changed = (model.log_odds(other) != scores).any(axis=0)
    np.testing.assert_array_equal(changed, ~OF_ARMS)
    assert ((scores > 0) == labels).mean() > 0.95


def test_each_model_is_the_plain_one_on_its_half():
    statistics, labels = _clips(1)
    scores = fit_limb_model(statistics, labels, OF_ARMS).log_odds(statistics)
    plain = fit_linear_model(statistics[:, :2], labels[:, [0, 2]]).log_odds(statistics[:, :2])
    np.testing.assert_allclose(scores[:, OF_ARMS], plain)


def test_undefined_statistics_count_as_the_mean():
    statistics, labels = _clips(2)
    model = fit_limb_model(statistics, labels, OF_ARMS)
    unknown = model.log_odds(np.full((1, 4), np.nan, np.float32))
    np.testing.assert_allclose(unknown[0, OF_ARMS], model.without_legs.intercepts)
    np.testing.assert_allclose(unknown[0, ~OF_ARMS], model.without_arms.intercepts)
