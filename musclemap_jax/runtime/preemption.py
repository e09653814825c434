"""A notice that the run has to stop: SIGTERM or SIGHUP from a scheduler, Ctrl-C (SIGINT) from a person.

At the first signal all processes of the run save at the same step and stop. Before the run's first step there is
nothing to save, and it ends at once. Ctrl-C after another signal ends it at once too; SIGTERM does not, since
schedulers send it more than once.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import NoReturn

from musclemap_jax.errors import INTERRUPTED_STATUS
from musclemap_jax.runtime.peers import PeerWatch
from musclemap_jax.runtime.process_log import given_command
from musclemap_jax.runtime.signals import catch_stop_signals
from musclemap_jax.runtime.stop_agreement import StopAgreement
from musclemap_jax.runtime.terminals import survive_hangups

_STOPPING = "stopping as soon as the state is saved; press Ctrl-C again to leave at once"
_LOST = "left at once: what followed the newest checkpoint is lost"
_NOTHING_TO_SAVE = "before the first step, with nothing to save"


class Preempted(Exception):
    """The run was asked to stop and has saved its state."""


class PreemptionNotice:
    """Says at points that come in the same order on every process whether the run has to stop."""

    def __init__(self, stopped_status: int = 0, release: Callable[[], None] = lambda: None) -> None:
        """Nobody has asked yet.

        Args:
          stopped_status: Exit status of a run that was asked to stop.
          release: Gives back what the run holds; called in a thread before the process leaves at once.
        """
        self._status, self._release = stopped_status, release
        self._agreement = StopAgreement()
        self._peers: PeerWatch | None = None
        self._runs = False
        self._signalled = False

    def listen(self) -> None:
        """Catches the signals from here on; call it in the main thread."""
        survive_hangups()
        catch_stop_signals(self._act)

    def share(self, peers: PeerWatch | None) -> None:
        """Agrees with the other processes of the run from here on; None if there are none."""
        if peers is not None:
            self._peers, self._agreement = peers, peers.stop_agreement

    def reached(self) -> bool:
        """Whether to save and stop now; the same call gets the same answer on every process."""
        self._runs = True
        return self._agreement.reached()

    def raise_if_reached(self) -> None:
        """Stops at a point where there is nothing to save.

        Raises:
          Preempted: The run has to stop.
        """
        if self.reached():
            raise Preempted("during an evaluation, which had nothing to save")

    def _act(self, number: signal.Signals) -> None:
        """Acts on a signal, in a thread of its own."""
        if not self._runs:
            self._leave(self._status, 1, f"\n{stopped_line(_NOTHING_TO_SAVE)}")
        if not self._signalled:
            self._signalled = True
            _say(2, f"\n{_STOPPING}\n")
            self._agreement.request()
        elif number == signal.SIGINT:
            self._leave(INTERRUPTED_STATUS, 2, f"\nerror: {_LOST}; to resume, run the same command again\n")

    def _leave(self, status: int, file: int, text: str) -> NoReturn:
        """Ends this process and the others; unbuffered, since the main thread may hold the buffer's lock."""
        if self._peers is not None:
            self._peers.end_others(status, f"process {self._peers.number} was asked to stop and left at once")
        self._release()
        _say(file, text)
        os._exit(status)


def stopped_line(how: str) -> str:
    """The last words of a run that was asked to stop: how it stopped, and how to resume it."""
    return f"stopped: {how}; to resume, run the same command again:\n  {given_command()}\n"


def _say(file: int, text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(file, text.encode())
