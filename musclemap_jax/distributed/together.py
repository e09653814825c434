"""Waiting for the other processes where their first common computation would not wait long enough.

Collectives meet with a time limit (gloo's, on CPUs, is 30 seconds), but one process may read data or compile for
minutes longer than another. The barrier here is the coordination service's, which only a dead process ends early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp

_LONGEST_WAIT_S = 3600


def wait_for_all(name: str) -> None:
    """Returns when every process is here.

    Args:
      name: of the place, different at every call.
    """
    if jax.process_count() > 1:
        ocp.multihost.get_barrier_sync_fn()(key=f"musclemap_jax/{name}", timeout_ms=_LONGEST_WAIT_S * 1000)


def compiled_together(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A jitted function that no process runs before all have compiled it.

    Args:
      function: of `jax.jit`; called with arrays of the same shapes in the same order on every process.
      name: of the function, for the barriers.
    """
    if jax.process_count() == 1:
        return function
    programs: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def call(*arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        shapes = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves))
        if shapes not in programs:
            programs[shapes] = function.lower(*arguments).compile()
            wait_for_all(f"{name}/{len(programs)}")
        return programs[shapes](*arguments)

    return call
