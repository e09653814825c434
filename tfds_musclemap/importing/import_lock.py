"""Locks of a raw data set, so that two imports or two extractions of skeletons do not lose each other's files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def import_lock(root: Path) -> Generator[None]:
    """Keeps other processes from importing into a raw data set, and waits while one does.

    What is locked is the folder that the raw data set lies in, since an import may replace the data set's own. Where
    the file system has no locks, nothing is.
    """
    parent = next(folder for folder in root.resolve().parents if folder.is_dir())
    with _folder_lock(parent, "importing into"):
        yield


@contextlib.contextmanager
def extraction_lock(root: Path) -> Generator[None]:
    """Keeps other processes from extracting skeletons into a raw data set, and waits while one does."""
    with _folder_lock(root, "extracting skeletons into"):
        yield


@contextlib.contextmanager
def _folder_lock(folder: Path, action: str) -> Generator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process that is {action} {folder}", file=sys.stderr, flush=True)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
