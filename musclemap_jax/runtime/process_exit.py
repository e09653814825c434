"""How a process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

FAILURE_STATUS = 1
"""Exit status of a process that ends by an unexpected error."""


def run_and_exit(main: Callable[[], int]) -> NoReturn:
    """Runs a command and ends the process with its status; an unexpected error shows its traceback first."""
    try:
        status = main()
    except Exception:
        traceback.print_exc()
        status = FAILURE_STATUS
    exit_process(status)


def exit_process(status: int) -> NoReturn:
    """Ends the process; at once, unless it has succeeded.

    Python's usual end waits for threads and crashes in some: XLA may still be compiling in a thread of its own, a
    checkpoint may wait for a process that is gone. A process that has failed would keep its accelerator meanwhile.
    """
    if status == 0:
        sys.exit(0)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
            stream.flush()
    os._exit(status)
