"""A batch norm that is mapped over eight devices is that of the whole batch, with its gradient and statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.sharding.mapped_axis import mapped_axis, mapped_over

AXIS = "devices"


def test_the_axis_is_named_in_the_context_alone():
    assert mapped_axis() is None
    with mapped_over(AXIS):
        assert mapped_axis() == AXIS
    assert mapped_axis() is None


@pytest.mark.parametrize("num_devices", [1, 8])
def test_statistics_and_gradients_are_those_of_the_whole_batch(num_devices):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 3, 5)).astype(np.float32) + np.arange(16, dtype=np.float32)[:, None, None]
    weights = rng.standard_normal(x.shape).astype(np.float32)
    norm = BatchNorm((5,))
    variables = norm.init(jax.random.key(0), x, (2,), False)

    def loss(params, x, weights):
        state = {"params": params, "batch_stats": variables["batch_stats"]}
        y, changed = norm.apply(state, x, (2,), True, mutable=["batch_stats"])
        return (y * weights).sum(), (y, changed["batch_stats"])

    gradient = functools.partial(jax.grad(loss, argnums=(0, 1), has_aux=True), variables["params"])
    (expected_params, expected_x), (expected_y, expected_stats) = gradient(x, weights)

    def mapped(x, weights):
        with mapped_over(AXIS):
            (of_params, of_x), (y, stats) = gradient(x, weights)
        return jax.lax.psum(of_params, AXIS), of_x, y, stats

    parts = (array.reshape(num_devices, -1, *array.shape[1:]) for array in (x, weights))
    of_params, of_x, y, stats = jax.pmap(mapped, AXIS, devices=jax.devices()[:num_devices])(*parts)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(y.reshape(x.shape), expected_y)
    close(of_x.reshape(x.shape), expected_x)
    for copied, expected in ((of_params, expected_params), (stats, expected_stats)):
        jax.tree.map(lambda copies, one: close(copies, jnp.broadcast_to(one, copies.shape)), copied, expected)
