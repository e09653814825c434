"""The device mesh and how batches are sharded over it.

Axes: ``data`` (replicates the parameters), ``fsdp`` (shards parameters and batches), ``tensor`` (shards widths).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from musclemap_jax.errors import UserError

AXES: tuple[str, ...] = ("data", "fsdp", "tensor")
BATCH_AXES: tuple[str, ...] = ("data", "fsdp")
"""The mesh axes over which the clips of a batch are sharded."""


def make_mesh(shape: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Builds the mesh with the axes ``data``, ``fsdp`` and ``tensor``.

    Args:
      shape: Size of each axis; one of them may be -1, which takes all remaining devices.
      devices: The devices; all of them by default.

    Raises:
      UserError: The product of the sizes is not the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = [int(shape[axis]) for axis in AXES]
    requested = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(size == 0 or size < -1 for size in sizes):
        raise UserError(f"config.mesh: sizes must be positive and at most one of them -1, got {requested}")
    known = math.prod(size for size in sizes if size != -1)
    if len(devices) % known or (-1 not in sizes and known != len(devices)):
        raise UserError(
            f"config.mesh: {requested} does not divide the {len(devices)} devices: "
            "set one axis to -1, which takes all remaining ones"
        )
    sizes = tuple(len(devices) // known if size == -1 else size for size in sizes)
    axis_types = (AxisType.Auto,) * len(AXES)
    num_slices = count_slices(devices)
    if num_slices == 1:
        return jax.make_mesh(sizes, AXES, axis_types=axis_types, devices=devices)
    # Whole replicas in each slice: the slow network between slices carries only gradients.
    data, *others = sizes
    if data % num_slices:
        raise UserError(
            f"config.mesh: data={data} is not a multiple of the {num_slices} slices, over which only the batch can be "
            f"sharded: choose a multiple of {num_slices}"
        )
    inner, outer = (data // num_slices, *others), (num_slices, 1, 1)
    grid = mesh_utils.create_hybrid_device_mesh(inner, outer, devices, allow_split_physical_axes=True)
    return Mesh(grid, AXES, axis_types=axis_types)


def count_slices(devices: Iterable[jax.Device]) -> int:
    """Number of TPU slices that the devices belong to; 1 for devices without slices."""
    return len({getattr(device, "slice_index", None) or 0 for device in devices})


def batch_ways(mesh: Mesh | AbstractMesh) -> int:
    """Number of parts that the mesh's batch axes cut a batch into."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Sharding of an array whose first axis is the batch's clips."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of an array that every device holds a copy of."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(name: str, batch_size: int, mesh: Mesh, grad_accum_steps: int = 1) -> None:
    """Checks that the mesh, times the accumulation steps, divides a batch of clips over all processes.

    Raises:
      UserError: It does not; the message names the config key and suggests the nearest sizes that fit.
    """
    ways = batch_ways(mesh) * grad_accum_steps
    if batch_size % ways:
        below, above = batch_size // ways * ways, -(-batch_size // ways) * ways
        fits = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"{name}={batch_size} is not a multiple of {ways} (mesh axes {' x '.join(BATCH_AXES)} times "
            f"grad_accum_steps): choose {fits}"
        )


class BatchShard(NamedTuple):
    """The part of each batch that a process reads: the ``index``-th of ``count`` equal parts."""

    index: int
    count: int


def batch_shard(mesh: Mesh, process_index: int | None = None) -> BatchShard:
    """The part of a batch that is on a process's devices.

    Processes that only the ``tensor`` axis separates hold and read the same clips. The default is this process.

    Raises:
      UserError: The parts of two processes overlap without being equal.
    """
    process_index = jax.process_index() if process_index is None else process_index
    parts = batch_ways(mesh)
    held: dict[int, set[int]] = {}
    for device, (clips,) in batch_sharding(mesh).devices_indices_map((parts,)).items():
        held.setdefault(device.process_index, set()).update(range(*clips.indices(parts)))
    shards = sorted({tuple(sorted(clips)) for clips in held.values()})
    if len({len(shard) for shard in shards}) > 1 or sum(len(shard) for shard in shards) != parts:
        raise UserError(
            f"config.mesh: tensor={mesh.shape['tensor']} on {mesh.size} devices of {len(held)} processes makes "
            "processes share some but not all of their clips: choose a smaller tensor"
        )
    return BatchShard(shards.index(tuple(sorted(held[process_index]))), len(shards))


def put_batch(batch: Mapping[str, Any], mesh: Mesh) -> dict[str, jax.Array]:
    """Makes global arrays, sharded over the mesh's batch axes, of the clips that each process has read."""
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, np.asarray(value)) for name, value in batch.items()}
