"""The check that a path is no pipe and no device, which may never end, or send nothing and never be closed."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def check_regular_file(path: Path) -> None:
    """Raises OSError unless a path leads to a file, or to a folder, on which opening fails anyway."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "expected a regular file, got a pipe or a device")
