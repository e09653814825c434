"""Linear layers and the MLP: values, gradients, initialisation."""

import jax
import jax.numpy as jnp
import numpy as np

from musclemap_jax.models.layers.linear import Mlp, dense


def test_a_linear_layer_is_a_product_in_value_and_gradient():
    rng = np.random.default_rng(0)
    x, weight = (jnp.asarray(rng.standard_normal((2, 3, 4, size)), jnp.float32) for size in (5, 6))
    layer = dense(6, "fc", jnp.float32)
    variables = layer.init(jax.random.key(0), x)

    def plain(params, x):
        return jnp.einsum("bthi,io->btho", x, params["kernel"]) + params["bias"].reshape(1, 1, 1, -1)

    def total(function):
        return lambda params, x: (function(params, x) * weight).sum()

    np.testing.assert_allclose(layer.apply(variables, x), plain(variables["params"], x), atol=1e-6)
    found = jax.grad(total(lambda params, x: layer.apply({"params": params}, x)), argnums=(0, 1))(
        variables["params"], x
    )
    expected = jax.grad(total(plain), argnums=(0, 1))(variables["params"], x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_the_mlp_is_initialised_as_in_pyslowfast():
    params = Mlp(300, 200).init(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    for layer in ("fc1", "fc2"):
        np.testing.assert_allclose(params[layer]["kernel"].std(), 0.02, rtol=0.02)
        np.testing.assert_array_equal(params[layer]["bias"], np.float32(0.02))
