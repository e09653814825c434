"""Ctrl-C that is never lost."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Generator

_AGAIN_AFTER_S = 0.05


@contextlib.contextmanager
def interrupts_kept() -> Generator[None]:
    """Sends an interrupt again that Python has swallowed.

    A KeyboardInterrupt is raised wherever the main thread happens to be. In a destructor or a callback of the garbage
    collector (JAX has one) Python prints "Exception ignored" and goes on as if nobody had pressed Ctrl-C.
    """
    before = sys.unraisablehook
    timers: list[threading.Timer] = []

    def send_again(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        # Later, since an exception within this function would be swallowed as well.
        to_main = (threading.main_thread().ident, signal.SIGINT)
        timer = threading.Timer(_AGAIN_AFTER_S, signal.pthread_kill, to_main)
        timer.daemon = True
        timer.start()
        timers.append(timer)

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()
