"""A barrier between processes, for places where their first collective would time out.

Collectives have a time limit (Gloo's, on CPUs, is 30 seconds), but one process may read data or compile for minutes
longer than another. This barrier is the coordination service's, which only the death of a process ends early.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp

from musclemap_jax.runtime.gc_control import gc_paused
from musclemap_jax.runtime.heap import tidy_heap

Obtain = Callable[[jax.stages.Lowered], jax.stages.Compiled]
_LONGEST_WAIT_S = 3600

log = logging.getLogger(__name__)


def barrier(name: str, longest_wait_s: int = _LONGEST_WAIT_S) -> None:
    """Returns once every process has called it.

    Args:
      name: A name of this call, different at every call.
      longest_wait_s: Seconds after which it gives up and raises JAX's error.
    """
    if jax.process_count() > 1:
        ocp.multihost.get_barrier_sync_fn()(key=f"musclemap_jax/{name}", timeout_ms=longest_wait_s * 1000)


class SynchronizedJit:
    """A jitted function that no process runs before all have compiled it and tidied the heap.

    Args:
      function: The result of `jax.jit`; called with the same shapes in the same order on every process.
      name: Name of the function, for the barriers.
      obtain: Makes a program of the lowered function; by default compiles it.
    """

    def __init__(self, function: jax.stages.Wrapped, name: str, obtain: Obtain = jax.stages.Lowered.compile) -> None:
        self._function, self._name, self._obtain = function, name, obtain
        self._programs: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        shapes = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves))
        if shapes not in self._programs:
            log.info("compiling %s", self._name)
            started = time.perf_counter()
            self._programs[shapes] = self._obtain(self.lower(*arguments))
            log.info("compiled %s in %.0f s", self._name, time.perf_counter() - started)
            tidy_heap()
            barrier(f"{self._name}/{len(self._programs)}")
        return self._programs[shapes](*arguments)

    def lower(self, *arguments: Any) -> jax.stages.Lowered:
        """Lowers the function; arguments may be ShapeDtypeStructs."""
        with gc_paused():
            return self._function.lower(*arguments)
