"""The agreement of a run's processes on the moment at which all of them stop.

Each process counts its ticks: points that come in the same order on all of them, such as the end of a training step.
Any process may ask to stop. Process 0 then asks all for their counts, and nobody passes a tick until it has answered:
stop at the tick after the furthest. A process alone agrees with itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

PAUSE, STOP, AT, STOP_AT = "pause", "stop", "at", "stop_at"
WORDS = (PAUSE, STOP, AT, STOP_AT)
"""First words of the messages: process 0 asks for the counts; another process asks to stop; its count; the verdict."""

Send = Callable[[str], None]
"""Sends a line to process 0 or, as process 0, to all others."""


class StopAgreement:
    """One process's part in the agreement."""

    def __init__(self, number: int = 0, count: int = 1, send: Send | None = None) -> None:
        """No process has asked yet.

        Args:
          number: Number of this process.
          count: Number of processes.
          send: Sends a message; not needed for a process alone.
        """
        self._number, self._count, self._send = number, count, send
        self._changed = threading.Condition(threading.RLock())
        self._tick = 0
        self._paused = False
        self._stop_at: int | None = None
        self._counts: dict[int, int] = {}

    def request(self) -> None:
        """Asks all to stop; may be called from any thread, on any process, and again."""
        if self._number != 0:
            self._say(STOP)
            return
        with self._changed:
            if self._paused or self._stop_at is not None:
                return
            self._paused = True
            self._counts[0] = self._tick
        self._say(PAUSE)
        self._decide()

    def reached(self) -> bool:
        """Passes a tick; whether to stop there, with the same answer on every process."""
        with self._changed:
            self._changed.wait_for(lambda: not self._paused)
            self._tick += 1
            return self._stop_at is not None and self._tick >= self._stop_at

    def receive(self, number: int, word: str, rest: str) -> None:
        """Acts on a message, one of WORDS, from another process."""
        if word == STOP:
            self.request()
        elif word == PAUSE:
            with self._changed:
                self._paused = True
                tick = self._tick
            self._say(f"{AT} {tick}")
        elif word == AT:
            with self._changed:
                self._counts[number] = int(rest)
            self._decide()
        elif word == STOP_AT:
            self._settle(int(rest))

    def _decide(self) -> None:
        with self._changed:
            if self._stop_at is not None or len(self._counts) < self._count:
                return
            stop_at = max(self._counts.values()) + 1
            self._settle(stop_at)
        self._say(f"{STOP_AT} {stop_at}")

    def _settle(self, stop_at: int) -> None:
        with self._changed:
            self._stop_at, self._paused = stop_at, False
            self._changed.notify_all()

    def _say(self, text: str) -> None:
        if self._send is not None:
            self._send(text)
