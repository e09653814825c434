"""Finds the largest batch whose training step fits into a chip's memory, with few compilations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from musclemap_jax.compile_ahead.step_report import OutOfMemoryError

Step = TypeVar("Step")


def find_largest(
    compile_step: Callable[[int], Step], unit: int, progress: Callable[[str], object] = lambda line: None
) -> Step:
    """Doubles the batch until it does not fit, then bisects; returns the step of the largest that fits.

    Args:
      compile_step: Compiles the step for a batch size; raises OutOfMemoryError if it does not fit.
      unit: The unit of batch sizes: one clip for each part of the mesh.
      progress: Called with a line after each compilation.

    Raises:
      OutOfMemoryError: Even ``unit`` clips do not fit.
    """
    best = compile_step(unit)
    progress(f"{unit} clips fit")
    fits, fails = 1, None
    while fails is None or fails - fits > 1:
        step = 2 * fits if fails is None else (fits + fails) // 2
        try:
            best = compile_step(step * unit)
            fits = step
            progress(f"{step * unit} clips fit")
        except OutOfMemoryError:
            fails = step
            progress(f"{step * unit} clips do not fit")
    return best
