"""The device mesh, on eight fake devices."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.sharding import mesh as mesh_lib


def test_minus_one_takes_the_remaining_devices():
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
    mesh_lib.check_batch_size("config.train.batch_size", 16, mesh, grad_accum_steps=2)
    with pytest.raises(UserError, match=r"batch_size=20 is not a multiple of 16 .* choose 16 or 32"):
        mesh_lib.check_batch_size("config.train.batch_size", 20, mesh, grad_accum_steps=2)
    with pytest.raises(UserError, match=r"choose 8$"):
        mesh_lib.check_batch_size("config.train.batch_size", 4, mesh)


def test_put_batch_shards_clips_in_order():
    mesh = mesh_lib.make_mesh({"data": 4, "fsdp": 2, "tensor": 1})
    clips = np.arange(16 * 3).reshape(16, 3)
    placed = mesh_lib.put_batch({"clips": clips}, mesh)["clips"]
    np.testing.assert_array_equal(placed, clips)
    assert {shard.data.shape for shard in placed.addressable_shards} == {(2, 3)}


class FakeDevice:
    """A device with the attributes that `batch_shard` needs."""

    def __init__(self, number, process_index):
        self.id, self.process_index = number, process_index


def mesh_of(process_of_device, *sizes):
    devices = [FakeDevice(number, process) for number, process in enumerate(process_of_device)]
    return jax.sharding.Mesh(np.array(devices).reshape(sizes), mesh_lib.AXES)


@pytest.mark.parametrize(
    ("process_of_device", "sizes", "expected"),
    [
        ((0, 0, 1, 1), (4, 1, 1), [(0, 2), (1, 2)]),
        ((0, 0, 1, 1), (1, 2, 2), [(0, 2), (1, 2)]),
        ((0, 1, 0, 1), (2, 2, 1), [(0, 2), (1, 2)]),  # every other part of a batch
        ((1, 1, 0, 0), (2, 1, 2), [(1, 2), (0, 2)]),
        ((0, 1, 2, 3), (2, 1, 2), [(0, 2), (0, 2), (1, 2), (1, 2)]),  # tensor passes between processes
        ((0, 0, 1, 1), (1, 1, 4), [(0, 1), (0, 1)]),
    ],
)
def test_each_process_reads_the_clips_of_its_devices(process_of_device, sizes, expected):
    mesh = mesh_of(process_of_device, *sizes)
    assert [mesh_lib.batch_shard(mesh, process) for process in range(len(expected))] == expected


def test_shards_that_overlap_in_part_are_refused():
    with pytest.raises(UserError, match=r"tensor=2 on 6 devices of 3 processes .* choose a smaller tensor"):
        mesh_lib.batch_shard(mesh_of((0, 0, 0, 1, 1, 2), 3, 1, 2), 0)


def test_devices_of_one_slice_or_of_none_count_as_one():
    slices = [SimpleNamespace(slice_index=index) for index in (0, 0, 1, 1)]
    assert mesh_lib.count_slices(slices) == 2
    assert mesh_lib.count_slices(slices[:2]) == 1
    assert mesh_lib.count_slices(jax.devices()) == 1
    assert mesh_lib.count_slices([SimpleNamespace(slice_index=None)]) == 1
