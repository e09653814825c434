"""Sharding of activations: their clips are sharded like the batch's, whatever their parameters' sharding.

Without it the compiler may gather the batch where the parameters are sharded (FSDP), and the memory of a step grows
with the mesh. The models choose where to constrain activations; the code that compiles a step chooses the sharding. A
model that is called on its own has no constraints.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Generator

import jax
from jax.sharding import NamedSharding, PartitionSpec

from musclemap_jax.sharding.mesh import BATCH_AXES, batch_ways

_CLIPS: contextvars.ContextVar[NamedSharding | None] = contextvars.ContextVar("clips", default=None)


@contextlib.contextmanager
def clip_sharding(sharding: NamedSharding) -> Generator[None]:
    """In this context, `constrain_clips` applies the sharding, of an array whose first axis is the batch's clips."""
    token = _CLIPS.set(sharding)
    try:
        yield
    finally:
        _CLIPS.reset(token)


def constrain_clips(activations: jax.Array, axis: int = 0) -> jax.Array:
    """The same values, with one axis sharded over the devices like the clips, if the devices divide it.

    Args:
      activations: Of any shape.
      axis: The axis of clips, or clips times views or persons.
    """
    sharding = _CLIPS.get()
    if sharding is None or activations.shape[axis] % batch_ways(sharding.mesh):
        return activations
    axes: list[tuple[str, ...] | None] = [None] * activations.ndim
    axes[axis] = BATCH_AXES
    return jax.lax.with_sharding_constraint(activations, NamedSharding(sharding.mesh, PartitionSpec(*axes)))
