"""A program that does not fit into a device's memory: how it is known, and what is told about it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import jax

from musclemap_jax.errors import UserError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether JAX's compiler or runtime ran out of a device's memory."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def out_of_memory_is_user_error(batch_size_key: str, *mends: str) -> Generator[None]:
    """Turns what is raised in the block for lack of device memory into one sentence.

    Args:
      batch_size_key: key of the configuration that says how many clips a program takes.
      mends: other ways to need less, besides fewer clips.

    Raises:
      UserError: a device's memory did not suffice; in the runtime's words, with what to change.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0].rstrip(".")
        ways = ", ".join((f"lower {batch_size_key}", *mends, "or use more devices"))
        raise UserError(
            f"the memory of {jax.local_devices()[0].device_kind} does not suffice ({reason}): {ways}"
        ) from error
