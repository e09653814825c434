"""Ends a process that waits too long, with a line that says what it waited for.

`faulthandler.dump_traceback_later` could end it too, but with a status and a message that do not tell a stall from any
other failure, and by the clock, which also runs while a machine is suspended.
"""

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
    """One wait of the main thread; compared by identity."""

    what: str


class Watchdog:
    """A thread that watches what the main thread waits for.

    The main thread cannot end itself while it is blocked in a read, so this thread ends the whole process; the run's
    other processes notice that.
    """

    def __init__(self, timeout_s: float, key: str) -> None:
        """Starts watching.

        Args:
          timeout_s: Seconds that a wait may take.
          key: The configuration key of the timeout, for the message.
        """
        self._timeout_s = timeout_s
        self._key = key
        self._waiting: _Wait | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextlib.contextmanager
    def waiting_for(self, what: str) -> Generator[None]:
        """Watches the block, in which the process waits for ``what``, such as "the training batch of step 17"."""
        self._waiting = _Wait(what)
        try:
            yield
        finally:
            self._waiting = None

    def watched(self, values: Iterable[T], what: str) -> Iterator[T]:
        """Passes values on and watches the wait for each; ``what`` and a number name one of them."""
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
        """Stops watching."""
        self._closed.set()

    def _watch(self) -> None:
        # Counts its own rounds instead of reading a clock, so that a suspended machine is not taken for a stall.
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
            f"\nerror: process {jax.process_index()} of {jax.process_count()}: stalled: waited {self._timeout_s:g} s "
            f"for {what}: check that the data's disk responds, or raise {self._key}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(STALLED_STATUS)
