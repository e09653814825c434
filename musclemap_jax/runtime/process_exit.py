"""How a process ends."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

INTERRUPTED_STATUS = 130
"""Exit status of a process that a person ended by Ctrl-C before it could save."""


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
