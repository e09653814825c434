"""The axis of devices that a model is mapped over, for what it computes over the whole batch.

Our own programs are sharded: a mean over the batch is one over all devices. A trainer that maps a program over devices
(`jax.pmap`), such as Scenic's, shows the model one device's clips at a time; what is meant over the batch then has to
be averaged over the axis. `mapped_over` names it while a model is called.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Generator

import jax

_AXIS: contextvars.ContextVar[str | None] = contextvars.ContextVar("mapped_axis", default=None)


@contextlib.contextmanager
def mapped_over(axis_name: str) -> Generator[None]:
    """In this context, `mapped_axis` is the axis of this name, over whose devices the batch is cut in equal parts."""
    token = _AXIS.set(axis_name)
    try:
        yield
    finally:
        _AXIS.reset(token)


def mapped_axis() -> str | None:
    """Name of the axis that the model is mapped over; None where the program sees the whole batch."""
    return _AXIS.get()


def mapped_size(axis_name: str | None) -> int:
    """Number of parts that the axis cuts the batch into."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def mean_over(axis_name: str | None, value: jax.Array) -> jax.Array:
    """The mean over the axis; without one, the value itself."""
    return value if axis_name is None else jax.lax.pmean(value, axis_name)
