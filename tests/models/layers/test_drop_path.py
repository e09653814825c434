"""Stochastic depth: its rate and mean."""

import jax
import jax.numpy as jnp
import numpy as np

from musclemap_jax.models.layers.drop_path import drop_path_factors, scale_clips


def test_drop_path_keeps_the_mean_and_the_rate():
    rates = jnp.asarray([0.0, 0.25, 0.5])
    factors = drop_path_factors(jax.random.key(0), rates, 4000)
    np.testing.assert_array_equal(factors[0], 1)
    np.testing.assert_allclose((factors == 0).mean(axis=1), rates, atol=0.03)
    np.testing.assert_allclose(factors.mean(axis=1), 1, atol=0.06)


def test_clips_are_scaled_one_by_one():
    x = jnp.ones((3, 2, 2))
    np.testing.assert_array_equal(scale_clips(x, jnp.asarray([0.0, 1.0, 2.0]))[:, 0, 0], [0, 1, 2])
    assert scale_clips(x, None) is x
