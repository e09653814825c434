"""The largest batch whose training step fits into a chip's memory, by compiling few times."""

from __future__ import annotations

from collections.abc import Callable

from musclemap_jax.compile_ahead.step_report import OutOfMemoryError, StepReport


def find_largest(
    compile_step: Callable[[int], StepReport], unit: int, progress: Callable[[str], object] = lambda line: None
) -> StepReport:
    """Doubles the batch until it does not fit, then halves the gap.

    Args:
      compile_step: of a batch size; raises OutOfMemoryError.
      unit: that batch sizes are multiples of: a clip for each part of the mesh.
      progress: called with a line after each compilation.

    Returns:
      The report of the largest batch that fits.

    Raises:
      OutOfMemoryError: even ``unit`` clips do not fit.
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
