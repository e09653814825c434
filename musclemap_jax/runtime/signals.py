"""Catches the signals by which a person or a scheduler asks a process to stop, whatever its main thread is doing.

Python runs a signal's handler in the main thread, and only between two steps of the interpreter: not while XLA
compiles, which takes minutes, nor while JAX waits for another process. So a thread waits for the signals here.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_SAME_S = 0.5
"""A signal again in this time is the same one: shells and launchers often pass on what the process got as well."""
_SECOND_NOTICE = 128


def catch_stop_signals(act: Callable[[signal.Signals], None]) -> None:
    """Catches STOP_SIGNALS for the rest of the process's life; call it in the main thread.

    Signals that the process was started to ignore, as `nohup` does with SIGHUP, stay ignored.

    Args:
      act: Called with each signal, in a thread of its own.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    caught = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    # The C part of Python's handler writes the signal's number into the pipe at once. While an event loop (Orbax's)
    # runs in the main thread, it has that written into its own pipe; so the handler itself writes a second notice.
    for number in caught:
        signal.signal(number, lambda number, _: os.write(writer, bytes([_SECOND_NOTICE + number])))
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reader, caught, act), name="signals", daemon=True).start()


def _wait(reader: int, caught: list[signal.Signals], act: Callable[[signal.Signals], None]) -> None:
    acted_s: dict[int, float] = {}
    noticed: set[int] = set()
    while True:
        byte = os.read(reader, 1)[0]
        number = byte % _SECOND_NOTICE
        if byte >= _SECOND_NOTICE and number in noticed:
            noticed.discard(number)
            continue
        if byte < _SECOND_NOTICE:
            noticed.add(number)
        now_s = time.monotonic()
        if number in caught and now_s - acted_s.get(number, -_SAME_S) >= _SAME_S:
            acted_s[number] = now_s
            act(signal.Signals(number))
