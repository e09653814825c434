"""Out of device memory: recognised, and reported with what to change."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import jax

from musclemap_jax.errors import UserError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether JAX's compiler or runtime ran out of a device's memory."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def out_of_memory_is_user_error(batch_size_key: str, *remedies: str) -> Generator[None]:
    """Turns an out-of-memory error raised in the block into one sentence.

    Args:
      batch_size_key: The configuration key of the batch size.
      remedies: Further ways to need less memory.

    Raises:
      UserError: A device ran out of memory; says what to change.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0].rstrip(".")
        ways = ", ".join((f"lower {batch_size_key}", *remedies, "or use more devices"))
        raise UserError(f"{jax.local_devices()[0].device_kind} ran out of memory ({reason}): {ways}") from error
