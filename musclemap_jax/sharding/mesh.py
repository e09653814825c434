"""The device mesh and where batches lie on it.

Axes: ``data`` (copies of the parameters), ``fsdp`` (parameters cut, batches cut too), ``tensor`` (widths cut).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from musclemap_jax.errors import UserError

AXES: tuple[str, ...] = ("data", "fsdp", "tensor")
BATCH_AXES: tuple[str, ...] = ("data", "fsdp")
"""The mesh axes over which the clips of a batch are spread."""


def make_mesh(shape: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Builds the mesh of the axes ``data``, ``fsdp`` and ``tensor``.

    Args:
      shape: size of each axis; one of them may be -1, which takes the devices that the others leave.
      devices: the devices; all of them by default.

    Raises:
      UserError: the sizes do not multiply to the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = [int(shape[axis]) for axis in AXES]
    wanted = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(size == 0 or size < -1 for size in sizes):
        raise UserError(f"config.mesh: sizes must be positive and at most one of them -1, got {wanted}")
    known = math.prod(size for size in sizes if size != -1)
    if len(devices) % known or (-1 not in sizes and known != len(devices)):
        raise UserError(
            f"config.mesh: {wanted} does not divide the {len(devices)} devices here: "
            "set one axis to -1, which takes the rest"
        )
    sizes = [len(devices) // known if size == -1 else size for size in sizes]
    axis_types = (AxisType.Auto,) * len(AXES)
    num_slices = count_slices(devices)
    if num_slices == 1:
        return jax.make_mesh(tuple(sizes), AXES, axis_types=axis_types, devices=devices)
    return Mesh(_over_slices(sizes, num_slices, devices), AXES, axis_types=axis_types)


def count_slices(devices: Iterable[jax.Device]) -> int:
    """Number of TPU slices that the devices are of; 1 where there are no such."""
    return len({getattr(device, "slice_index", None) or 0 for device in devices})


def _over_slices(sizes: Sequence[int], num_slices: int, devices: Sequence[jax.Device]) -> np.ndarray:
    """Devices of several slices: copies of the parameters in each, so that the slow network carries gradients alone."""
    data, *others = sizes
    if data % num_slices:
        raise UserError(
            f"config.mesh: data={data} does not divide by the {num_slices} slices here, between which the batch alone "
            f"can be spread: take a multiple of {num_slices}"
        )
    return mesh_utils.create_hybrid_device_mesh(
        (data // num_slices, *others), (num_slices, 1, 1), devices, allow_split_physical_axes=True
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Sharding of an array whose first axis is the clips of the batch."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of an array of which every device holds a copy."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(name: str, batch_size: int, mesh: Mesh, grad_accum_steps: int = 1) -> None:
    """Refuses a global batch that the mesh, times the grad_accum_steps steps, does not divide.

    Args:
      name: the config key, for the message.
      batch_size: clips in a batch over all processes.
      mesh: the device mesh.
      grad_accum_steps: number of parts in which a step takes its batch.

    Raises:
      UserError: with the numbers and the next sizes that fit.
    """
    ways = math.prod(mesh.shape[axis] for axis in BATCH_AXES) * grad_accum_steps
    if batch_size % ways:
        below, above = batch_size // ways * ways, -(-batch_size // ways) * ways
        fits = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"{name}={batch_size} does not divide by {ways} (mesh axes {' x '.join(BATCH_AXES)} times "
            f"grad_accum_steps): take {fits}"
        )


class BatchShare(NamedTuple):
    """What a process reads of each batch: the ``index``-th of ``count`` equal shares."""

    index: int
    count: int


def batch_share(mesh: Mesh, process_index: int | None = None) -> BatchShare:
    """The share of a batch that lies on a process's devices.

    Processes between which no axis of the batch passes, but ``tensor`` does, hold and read the same clips.

    Args:
      mesh: the device mesh.
      process_index: of the process; this one by default.

    Raises:
      UserError: shares overlap in part.
    """
    process_index = jax.process_index() if process_index is None else process_index
    parts = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    held: dict[int, set[int]] = {}
    for device, (clips,) in batch_sharding(mesh).devices_indices_map((parts,)).items():
        held.setdefault(device.process_index, set()).update(range(*clips.indices(parts)))
    shares = sorted({tuple(sorted(own)) for own in held.values()})
    if len({len(share) for share in shares}) > 1 or sum(len(share) for share in shares) != parts:
        raise UserError(
            f"config.mesh: tensor={mesh.shape['tensor']} on {mesh.size} devices of {len(held)} processes lets "
            "processes hold the same clips in part: take a smaller tensor"
        )
    return BatchShare(shares.index(tuple(sorted(held[process_index]))), len(shares))


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Makes global arrays of each process's share of a batch, spread over the mesh's batch axes.

    Args:
      batch: {name: array whose first axis is the clips of this process's share}.
      mesh: the device mesh.
    """
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, np.asarray(value)) for name, value in batch.items()}
