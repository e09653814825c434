"""Tests of the device mesh, on eight fake devices."""

import jax
import numpy as np
import pytest

from musclemap_jax.distributed import mesh as mesh_lib
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


def test_a_tensor_axis_over_processes_is_refused():
    class OfProcess:
        """A device as the check sees it: four devices of two processes."""

        def __init__(self, number):
            self.id, self.process_index = number, number // 2

    def mesh(**shape):
        sizes = tuple(shape[axis] for axis in mesh_lib.AXES)
        return jax.sharding.Mesh(np.array([OfProcess(number) for number in range(4)]).reshape(sizes), mesh_lib.AXES)

    mesh_lib.check_process_shares(8, mesh(data=2, fsdp=1, tensor=2))
    with pytest.raises(UserError, match=r"tensor=4 on 4 devices of 2 processes .* divides 2"):
        mesh_lib.check_process_shares(8, mesh(data=1, fsdp=1, tensor=4))
