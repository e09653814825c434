"""Ends a process that waits too long, with a line that says for what."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import jax

STALLED_STATUS = 3
"""Exit status of a process that a watchdog ended."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Wait:
    """One wait of the main thread, told from others by identity."""

    what: str


class Watchdog:
    """A thread that looks at what the main thread waits for.

    The main thread cannot end itself while it is blocked in a read, so the thread ends the whole process; the others of
    the run notice that it is gone.
    """

    def __init__(self, timeout_s: float, key: str) -> None:
        """Starts to watch.

        Args:
          timeout_s: seconds that a wait may take.
          key: of the configuration, under which the user finds the time.
        """
        self._timeout_s = timeout_s
        self._key = key
        self._waiting: _Wait | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextlib.contextmanager
    def waiting_for(self, what: str) -> Generator[None]:
        """While inside, the process waits for ``what``: the next batch of step 17."""
        self._waiting = _Wait(what)
        try:
            yield
        finally:
            self._waiting = None

    def watched(self, values: Iterable[T], what: str) -> Iterator[T]:
        """The same values, each waited for under watch; ``what`` names one of them."""
        iterator = iter(values)
        number = 0
        while True:
            number += 1
            with self.waiting_for(f"{what} {number}"):
                try:
                    value = next(iterator)
                except StopIteration:
                    return
            yield value

    def close(self) -> None:
        """Stops to watch."""
        self._closed.set()

    def _watch(self) -> None:
        # Its own rounds are counted and no clock is read, so that a machine that sleeps is not taken for a stall.
        interval = min(1.0, self._timeout_s / 4)
        seen, rounds = None, 0
        while not self._closed.wait(interval):
            waiting = self._waiting
            rounds = rounds + 1 if waiting is not None and waiting is seen else 0
            seen = waiting
            if waiting is not None and rounds * interval > self._timeout_s:
                self._end(waiting.what)

    def _end(self, what: str) -> None:
        faulthandler.dump_traceback(sys.__stderr__ or sys.stderr)
        print(
            f"error: process {jax.process_index()} of {jax.process_count()}: stalled: waited {self._timeout_s:g} s for "
            f"{what}: see whether the data's disk answers; the time is {self._key}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(STALLED_STATUS)
