"""Weights of persons, and averages over them."""

import jax.numpy as jnp
import numpy as np

from musclemap_jax.models.skeleton.persons import mean_over_persons, person_weights


def test_a_person_of_a_few_poses_counts_by_them():
    seen = np.zeros((3, 10, 2), bool)
    seen[0, :, 0] = seen[0, 4, 1] = True  # the whole clip, and one pose of somebody else
    seen[1, :5] = True
    np.testing.assert_allclose(person_weights(jnp.asarray(seen)), [[10 / 11, 1 / 11], [0.5, 0.5], [0, 0]], rtol=1e-6)


def test_the_mean_takes_the_weights_of_the_persons():
    x = jnp.asarray([[[1.0], [2.0]], [[5.0], [6.0]]])  # two persons of one clip, two tokens, one number
    np.testing.assert_allclose(mean_over_persons(x, jnp.asarray([[0.75, 0.25]])), [[[2.0], [3.0]]])
