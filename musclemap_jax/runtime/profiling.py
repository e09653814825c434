"""Traces of training steps, for XProf or Perfetto: ``xprof --logdir=<workdir>/profile``."""

from __future__ import annotations

import re

import jax
from etils import epath

from musclemap_jax.errors import UserError

FOLDER = "profile"


def parse_steps(text: str) -> range:
    """Parses ``10-20`` (both included) or ``10``; empty text means no step.

    Raises:
      UserError: Any other text.
    """
    if not text:
        return range(0)
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match:
        first, last = int(match[1]), int(match[2] or match[1])
        if 1 <= first <= last:
            return range(first, last + 1)
    raise UserError(f"--profile_steps: expected a step or FIRST-LAST, counted from 1, such as 10-20, got {text!r}")


class Profiler:
    """Traces the given steps of a run into ``<workdir>/profile``; every process writes its own trace."""

    def __init__(self, workdir: epath.PathLike, steps: range) -> None:
        """Traces nothing yet.

        Args:
          workdir: The run's workdir.
          steps: Steps to trace; those that the run does not reach are ignored.
        """
        self._folder = str(epath.Path(workdir) / FOLDER)
        self._steps = steps
        self._tracing = False

    def before(self, step: int) -> None:
        """Starts the trace if this is the first of its steps that this run takes."""
        if step in self._steps and not self._tracing:
            jax.profiler.start_trace(self._folder)
            self._tracing = True

    def ends_with(self, step: int) -> bool:
        """Whether this step is the trace's last; block until it is computed, then call `close`."""
        return self._tracing and step + 1 not in self._steps

    def close(self) -> None:
        """Ends and writes the trace, if one is being taken."""
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
