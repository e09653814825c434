"""Functions that run on each device's own clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from musclemap_jax.sharding.context import kernels_for_tpu, over_clips, platform, with_mesh
from musclemap_jax.sharding.mesh import AXES, batch_sharding, make_mesh, replicated


@pytest.fixture(scope="module")
def mesh():
    return make_mesh({"data": 2, "fsdp": 2, "tensor": 2})


def test_values_and_gradients_are_those_of_all_clips_at_once(mesh):
    rng = np.random.default_rng(0)
    clips = jnp.asarray(rng.standard_normal((8, 3, 5)), jnp.float32)
    weight = jnp.asarray(rng.standard_normal((5, 2)), jnp.float32)

    def local(x, w):
        return jnp.tanh(x @ w), (x**2).sum(axis=-1)

    def loss(function, x, w):
        first, second = function(x, w)
        return jnp.sum(first * jnp.cos(first)) + jnp.sum(jnp.sin(second))

    def sharded(x, w):
        return jax.value_and_grad(lambda x, w: loss(lambda x, w: over_clips(local, [x], [w]), x, w), (0, 1))(x, w)

    compiled = jax.jit(with_mesh(mesh, sharded), in_shardings=(batch_sharding(mesh), replicated(mesh)))
    expected = jax.value_and_grad(lambda x, w: loss(local, x, w), (0, 1))(clips, weight)
    for one, other in zip(jax.tree.leaves(compiled(clips, weight)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_kernels_are_for_meshes_of_tpus_that_divide_the_clips(mesh):
    tpu = jax.sharding.AbstractDevice(device_kind="TPU v5 lite", num_cores=1, platform="tpu")
    of_tpus = AbstractMesh((2, 2, 2), AXES, (AxisType.Auto,) * 3, abstract_device=tpu)
    assert not kernels_for_tpu(8)
    assert platform() == "cpu"
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        assert not kernels_for_tpu(8)
    with jax.sharding.use_abstract_mesh(of_tpus):
        assert platform() == "tpu"
        assert kernels_for_tpu(8)
        assert not kernels_for_tpu(6)
