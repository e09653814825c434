"""Notice that the machine goes away (SIGTERM), agreed on by all processes.

With several processes JAX's coordination service takes the signal, or the platform's own notice, of any of them, and
chooses a moment that all reach; alone, a handler of ours sets a flag.
"""

from __future__ import annotations

import signal
import threading

import jax
from jax.experimental import multihost_utils


class Preempted(Exception):
    """The run was asked to stop and has saved what it has."""


class PreemptionNotice:
    """Asks, at moments that come in the same order on every process, whether the run is to stop."""

    def __init__(self) -> None:
        """Listens from now on."""
        self._tick = 0
        self._signalled = threading.Event()
        self._alone = not jax.distributed.is_initialized()
        if self._alone and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: self._signalled.set())

    def reached(self) -> bool:
        """Whether to save and stop now: the same answer on every process at the same call."""
        self._tick += 1
        if self._alone:
            return self._signalled.is_set()
        return multihost_utils.reached_preemption_sync_point(self._tick)

    def raise_if_reached(self) -> None:
        """Stops here where there is nothing to save.

        Raises:
          Preempted: the run is to stop.
        """
        if self.reached():
            raise Preempted("nothing was to be saved here")
