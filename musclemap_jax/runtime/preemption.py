"""Preemption: a notice that the run has to stop (SIGTERM), agreed on by all processes.

With several processes, JAX's coordination service receives the signal or the platform's own notice on any of them and
chooses a step that all reach; for a process alone, a signal handler sets a flag.
"""

from __future__ import annotations

import signal
import threading

import jax
from jax.experimental import multihost_utils


class Preempted(Exception):
    """The run was asked to stop and has saved its state."""


class PreemptionNotice:
    """Says at points that come in the same order on every process whether the run has to stop."""

    def __init__(self) -> None:
        """Starts listening."""
        self._tick = 0
        self._signalled = threading.Event()
        self._alone = not jax.distributed.is_initialized()
        if self._alone and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: self._signalled.set())

    def reached(self) -> bool:
        """Whether to save and stop now; the same call gets the same answer on every process."""
        self._tick += 1
        if self._alone:
            return self._signalled.is_set()
        return multihost_utils.reached_preemption_sync_point(self._tick)

    def raise_if_reached(self) -> None:
        """Stops at a point where there is nothing to save.

        Raises:
          Preempted: The run has to stop.
        """
        if self.reached():
            raise Preempted("during an evaluation, which had nothing to save")
