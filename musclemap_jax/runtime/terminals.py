"""Output to a terminal that may hang up: its window is closed, or the connection to its machine is lost."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any


class _Terminal(io.FileIO):
    """A terminal; what is written to it after it has hung up goes nowhere, as a background job's output would."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(memoryview(data).cast("B"))


def survive_hangups() -> None:
    """Lets the process live on after its terminal has hung up, so that it can save.

    By default the next line that it writes, such as that of a progress bar, would be an error.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream.isatty():
            stream.flush()
            terminal = io.BufferedWriter(_Terminal(stream.fileno(), "w", closefd=False))
            text = io.TextIOWrapper(terminal, stream.encoding, stream.errors, line_buffering=True)
            setattr(sys, name, text)
