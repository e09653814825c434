"""Tests of the device mesh and of the sharding rules, on eight fake devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from musclemap_jax.distributed import mesh as mesh_lib
from musclemap_jax.distributed.sharding import path_name, state_sharding
from musclemap_jax.errors import UserError


def test_minus_one_takes_the_devices_that_the_others_leave():
    mesh = mesh_lib.make_mesh({"data": -1, "fsdp": 2, "tensor": 2})
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"data": 3, "fsdp": 1, "tensor": 1}, "data=3, fsdp=1, tensor=1 does not divide the 8 devices"),
        ({"data": -1, "fsdp": 3, "tensor": 1}, "fsdp=3"),
        ({"data": -1, "fsdp": -1, "tensor": 1}, "at most one"),
        ({"data": 0, "fsdp": 1, "tensor": 1}, "positive"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused_with_the_numbers(shape, message):
    with pytest.raises(UserError, match=message):
        mesh_lib.make_mesh(shape)


def test_a_batch_that_the_mesh_does_not_divide_is_refused_with_sizes_that_fit():
    mesh = mesh_lib.make_mesh({"data": 4, "fsdp": 2, "tensor": 1})
    mesh_lib.check_batch_size("config.train.batch_size", 16, mesh, accumulation=2)
    with pytest.raises(UserError, match=r"batch_size=20 does not divide by 16 .* take 16 or 32"):
        mesh_lib.check_batch_size("config.train.batch_size", 20, mesh, accumulation=2)
    with pytest.raises(UserError, match=r"take 8$"):
        mesh_lib.check_batch_size("config.train.batch_size", 4, mesh)


def test_put_batch_spreads_clips_in_order():
    mesh = mesh_lib.make_mesh({"data": 4, "fsdp": 2, "tensor": 1})
    clips = np.arange(16 * 3).reshape(16, 3)
    placed = mesh_lib.put_batch({"clips": clips}, mesh)["clips"]
    np.testing.assert_array_equal(placed, clips)
    assert {shard.data.shape for shard in placed.addressable_shards} == {(2, 3)}


def test_rules_cut_kernels_and_leave_what_does_not_divide():
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 4, "tensor": 2})
    tree = {
        "qkv": {"kernel": jnp.zeros((8, 6)), "bias": jnp.zeros(6)},
        "proj": {"kernel": jnp.zeros((8, 6))},
        "odd": {"kernel": jnp.zeros((7, 6))},
        "tokens": jnp.zeros((20, 8)),
    }
    shardings = state_sharding({"params": tree, "mu": tree}, mesh)
    for part in ("params", "mu"):
        specs = jax.tree.map(lambda sharding: sharding.spec, shardings[part])
        assert specs["qkv"]["kernel"] == PartitionSpec("fsdp", "tensor")
        assert specs["proj"]["kernel"] == PartitionSpec("tensor", None)
        assert specs["odd"]["kernel"] == PartitionSpec(None, "tensor")
        assert specs["qkv"]["bias"] == specs["tokens"] == PartitionSpec()


def test_path_name_reads_like_a_path():
    paths = jax.tree_util.tree_flatten_with_path({"params": {"video": [1, 2]}})[0]
    assert [path_name(path) for path, _ in paths] == ["params/video/0", "params/video/1"]
