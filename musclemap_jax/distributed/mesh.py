"""The device mesh and where batches lie on it.

Axes: ``data`` (copies of the parameters), ``fsdp`` (parameters cut, batches cut too), ``tensor`` (widths cut).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
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
    if len(devices) == len(jax.devices()):
        return jax.make_mesh(tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)
    return Mesh(np.array(devices).reshape(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Sharding of an array whose first axis is the clips of the batch."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of an array of which every device holds a copy."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(name: str, batch_size: int, mesh: Mesh, accumulation: int = 1) -> None:
    """Refuses a global batch that the mesh, times the accumulation steps, does not divide.

    Args:
      name: the config key, for the message.
      batch_size: clips in a batch over all processes.
      mesh: the device mesh.
      accumulation: number of parts in which a step takes its batch.

    Raises:
      UserError: with the numbers and the next sizes that fit.
    """
    ways = math.prod(mesh.shape[axis] for axis in BATCH_AXES) * accumulation
    if batch_size % ways:
        below, above = batch_size // ways * ways, -(-batch_size // ways) * ways
        fits = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"{name}={batch_size} does not divide by {ways} (mesh axes {' x '.join(BATCH_AXES)} times accumulation): "
            f"take {fits}"
        )


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Makes global arrays of each process's share of a batch, spread over the mesh's batch axes.

    Args:
      batch: {name: array whose first axis is this process's clips}.
      mesh: the device mesh.
    """
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, np.asarray(value)) for name, value in batch.items()}
