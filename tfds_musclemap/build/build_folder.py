"""The folder that a build writes to: one build at a time, enough disk space, no leftovers of interrupted builds."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from musclemap_jax.errors import UserError
from musclemap_jax.storage.files import is_remote
from musclemap_jax.storage.full_disk import is_full_disk

_MIN_FREE_BYTES = 64 << 20
_DISK_FAULTS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
"""Not permitted, or a file where a folder is expected."""


@contextlib.contextmanager
def build_lock(data_path: Path) -> Generator[None]:
    """Keeps other processes from building the same version of the data set, and waits while one does.

    Leftovers of an interrupted build next to it are removed. On object stores, which have no locks, neither is done.
    """
    if is_remote(data_path):
        yield
        return
    data_path.parent.mkdir(parents=True, exist_ok=True)
    with (data_path.parent / ".build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that is building {data_path}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in data_path.parent.glob(_temporary_name(data_path, "*")):
            shutil.rmtree(leftover)
        yield


@contextlib.contextmanager
def scratch_folder(data_path: Path) -> Generator[Path]:
    """A temporary folder next to the data set, named so that ``build_lock`` removes it if the process dies."""
    if is_remote(data_path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    folder = data_path.parent / _temporary_name(data_path, "raw_dataset")
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _temporary_name(data_path: Path, part: str) -> str:
    """Name of a folder as TFDS names the one that it builds in, where the part is random letters."""
    return f"incomplete.{part}_{data_path.name}"


def check_free_disk(folder: Path, needed_bytes: int) -> None:
    """Raises UserError if a folder, which need not exist, is on a disk with too little space; not for object stores."""
    if is_remote(folder):
        return
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    needed, free = max(needed_bytes, _MIN_FREE_BYTES), shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{folder}: expected about {needed:,} free bytes for the prepared data, found {free:,}: "
            f"free some or choose another data_dir"
        )


@contextlib.contextmanager
def disk_faults_are_user_errors(folder: Path) -> Generator[None]:
    """Turns errors of the system about disk space, permissions and a data_dir that is a file into a UserError."""
    try:
        yield
    except OSError as error:
        if not is_full_disk(error) and error.errno not in _DISK_FAULTS:
            raise
        way = "free some disk or choose another data_dir" if is_full_disk(error) else "choose another data_dir"
        raise UserError(f"{folder}: the build could not write: {error.strerror}: {way}") from error
