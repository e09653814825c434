"""Watches the other processes of a run and, when one of them dies, ends this one with a line that names it.

JAX's coordination service notices a death too, but ends the process by an abort in its own words: at once if process 0
is gone, else after a long silence. Here every process holds a TCP connection to process 0. The kernel closes it when a
process dies; a machine that vanished or froze is recognised by its silence. Process 0 passes on what it learns.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from musclemap_jax.runtime.connection import Connection
from musclemap_jax.runtime.rendezvous import Group
from musclemap_jax.runtime.stop_agreement import WORDS, StopAgreement

PEER_DIED_STATUS = 4
"""Exit status of a process that ends because another one died."""

_FAREWELL_S = 5.0
_BEATS = 8
"""Signs of life that a process sends in the time after which it counts as dead."""


class PeerWatch:
    """Threads that exchange signs of life with process 0 or, as process 0, with all the others.

    Attributes:
      number: Number of this process.
      stop_agreement: The processes' agreement on when to stop, which uses the same connections.
    """

    def __init__(self, group: Group, connections: dict[int, Connection], timeout_s: float) -> None:
        """Starts watching.

        Args:
          group: The processes.
          connections: The result of `rendezvous.meet`.
          timeout_s: Seconds of silence after which a process counts as dead.
        """
        self.timeout_s = timeout_s
        self._group = group
        self.number = group.number
        self._done: set[int] = set()
        self._sending = threading.Lock()
        self._leaving = threading.Event()
        self._alone = threading.Event()
        self.stop_agreement = StopAgreement(group.number, group.count, self._send)
        _delay_abort()
        self._connections = dict(connections)
        for number, connection in connections.items():
            connection.socket.settimeout(timeout_s)
            _start(self._listen_to, number, connection.lines)
        _start(self._beat)

    def leave(self) -> None:
        """Tells the others that this process is done, so that its end is no failure; it keeps watching them."""
        self._send("done")

    def close(self) -> None:
        """Stops watching."""
        self._leaving.set()

    def end_others(self, status: int, reason: str) -> None:
        """Makes the others exit too; call it just before this process exits.

        Args:
          status: The exit status of all processes.
          reason: One line for their messages, which says what happened to "process 0".
        """
        self._leaving.set()
        self._pass_on(self.number, status, reason)

    def report_failure(self, status: int, reason: str) -> None:
        """`end_others` after a failure of this process."""
        self.end_others(status, f"process {self.number} failed: {reason}")

    def _pass_on(self, number: int, status: int, reason: str) -> None:
        self._send(f"failed {number} {status} {reason}")
        # Process 0 exits last: JAX's service goes with it, and so may what it has just sent.
        self._alone.wait(_FAREWELL_S if self.number == 0 else 0)

    def _send(self, text: str) -> None:
        with self._sending:
            for connection in list(self._connections.values()):
                with contextlib.suppress(OSError):  # the thread that listens to it notices
                    connection.send(text)

    def _beat(self) -> None:
        while True:
            self._send("alive")
            time.sleep(self.timeout_s / _BEATS)

    def _listen_to(self, number: int, lines: Iterator[str]) -> None:
        how = "its connection closed"
        try:
            for line in lines:
                word, _, rest = line.partition(" ")
                if word == "failed":
                    culprit, status, reason = rest.split(" ", 2)
                    self._forget(number)
                    self._end(int(culprit), int(status), reason)
                elif word == "done":
                    self._done.add(number)
                elif word in WORDS:
                    self.stop_agreement.receive(number, word, rest)
        except TimeoutError:
            how = f"no sign of life for {self.timeout_s:g} s"
        except OSError:
            pass  # a connection that was reset
        self._forget(number)
        if number not in self._done:
            self._end(number, PEER_DIED_STATUS, f"process {number} died: {how}: see its log, process_{number:03d}.log")

    def _forget(self, number: int) -> None:
        """Drops a process that has ended, or is about to."""
        self._connections.pop(number, None)
        if not self._connections:
            self._alone.set()

    def _end(self, number: int, status: int, reason: str) -> None:
        """Passes a failure on and exits, unless this process is already leaving."""
        if self._leaving.is_set():
            return
        self._leaving.set()
        self._pass_on(number, status, reason)
        # Starts a new line after the progress bar; unbuffered, since the main thread may hold the buffer's lock.
        os.write(2, f"\nerror: {self._group}: {reason}\n".encode())
        os._exit(status)


def _start(function: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, name="peer_watch", daemon=True).start()


def _delay_abort() -> None:
    """Delays an abort, by which JAX's own watch ends the process, until this watch has named the dead process.

    The handler of SIGABRT is `sleep`, which gets the signal's number, 6, as its seconds; then the abort continues.
    """
    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    library.signal(signal.SIGABRT, ctypes.cast(library.sleep, ctypes.c_void_p))
