"""Where activations lie on the devices: their clips are spread like the batch's, whatever their parameters' sharding.

Without it the compiler may choose to gather a batch where the parameters are cut (FSDP), and the memory of a step grows
with the mesh. The models say at which places; whoever compiles a step says onto what, and a model that is called on its
own is left as it is.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator

import jax
from jax.sharding import NamedSharding, PartitionSpec

_CLIPS: contextvars.ContextVar[NamedSharding | None] = contextvars.ContextVar("clips", default=None)


@contextlib.contextmanager
def clip_sharding(sharding: NamedSharding) -> Iterator[None]:
    """While a step is traced inside, `constrain_clips` means this sharding.

    Args:
      sharding: of an array whose first axis is the clips of the batch.
    """
    token = _CLIPS.set(sharding)
    try:
        yield
    finally:
        _CLIPS.reset(token)


def constrain_clips(activations: jax.Array, axis: int = 0) -> jax.Array:
    """The same values, one axis spread over the devices like the clips.

    Args:
      activations: of any shape; left alone where the devices do not divide the axis.
      axis: clips, or clips times views or persons.
    """
    sharding = _CLIPS.get()
    if sharding is None:
        return activations
    (mesh_axes,) = sharding.spec
    ways = math.prod(sharding.mesh.shape[name] for name in mesh_axes)
    if activations.shape[axis] % ways:
        return activations
    axes = [None] * activations.ndim
    axes[axis] = mesh_axes
    return jax.lax.with_sharding_constraint(activations, NamedSharding(sharding.mesh, PartitionSpec(*axes)))
