"""Keeps the log of a C++ library off the terminal; Python cannot reach it in any other way."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Generator

_STDERR = 2

_LOG_LINE = re.compile(rb"[IW]\d{4} [\d:.]+ +\d+ \S+\.cc:\d+\] |(INFO|WARNING|ERROR): ")
"""Information and warnings in Abseil's log, and all of TensorFlow Lite's, whose errors are raised as well."""

_redirecting = threading.Lock()


@contextlib.contextmanager
def without_cpp_log() -> Generator[None]:
    """Drops C++ libraries' log of what is no error while the block runs.

    Everything else that is written to standard error meanwhile, by whichever thread, appears when the block ends.
    """
    sys.stderr.flush()
    with _redirecting, tempfile.TemporaryFile() as held:
        terminal = os.dup(_STDERR)
        try:
            os.dup2(held.fileno(), _STDERR)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, _STDERR)
            held.seek(0)
            for line in held:
                if not _LOG_LINE.match(line):
                    os.write(terminal, line)
            os.close(terminal)
