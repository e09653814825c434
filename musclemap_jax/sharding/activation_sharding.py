"""Sharding of activations: their clips are sharded like the batch's, whatever their parameters' sharding.

Without it the compiler may gather the batch where the parameters are sharded (FSDP), and the memory of a step grows
with the mesh. The models choose where to constrain activations; the code that compiles a step chooses the sharding. A
model that is called on its own has no constraints.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Generator

import jax
from jax.sharding import NamedSharding, PartitionSpec

_CLIPS: contextvars.ContextVar[NamedSharding | None] = contextvars.ContextVar("clips", default=None)


@contextlib.contextmanager
def clip_sharding(sharding: NamedSharding) -> Generator[None]:
    """In this context, `constrain_clips` applies the sharding to what is traced.

    Args:
      sharding: Sharding of an array whose first axis is the batch's clips.
    """
    token = _CLIPS.set(sharding)
    try:
        yield
    finally:
        _CLIPS.reset(token)


def constrain_clips(activations: jax.Array, axis: int = 0) -> jax.Array:
    """The same values, with one axis sharded over the devices like the clips.

    Args:
      activations: Activations; they are not constrained if the devices do not divide the axis.
      axis: The axis of clips, or clips times views or persons.
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
