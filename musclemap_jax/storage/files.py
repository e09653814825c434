"""Files that may be on cloud storage (``gs://``), which can neither append nor rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import fsspec.config
from etils import epath

UNFINISHED = ".unfinished"
"""Suffix of files and folders that are being written; they are renamed when they are complete."""


def disable_listings_cache() -> None:
    """Makes every listing of a cloud folder ask the storage; call it before the first ``gs://`` path is used.

    gcsfs caches listings, and so would miss checkpoints that another process has written or moved.
    """
    fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is on cloud storage."""
    return "://" in os.fspath(path)


def replace_text(path: epath.PathLike, text: str) -> None:
    """Writes a file such that a reader sees either the old text or the new one, even after a kill or a power failure.

    After an error, such as a full disk, nothing is left of the new one.
    """
    replace_bytes(path, text.encode())


def replace_bytes(path: epath.PathLike, content: bytes) -> None:
    """Writes a file as `replace_text` does."""
    path = epath.Path(path)
    if is_remote(path):  # an object appears when it is complete
        path.write_bytes(content)
        return
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        unfinished.write_bytes(content)
        sync_to_disk(unfinished)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_to_disk(path.parent)


def sync_to_disk(path: epath.PathLike) -> None:
    """Blocks until a local file, or the list of a local folder's files, would survive a power failure.

    Without it a rename may reach the disk before the content of the renamed file. A file system that cannot do it, as
    some network disks with folders, is left to its own ways.
    """
    if is_remote(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def local_copy(path: epath.PathLike) -> Generator[Path]:
    """A local file with the content of a remote one, removed after the block; a local file is given as it is."""
    if not is_remote(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="musclemap_jax_") as folder:
        local = Path(folder) / epath.Path(path).name
        epath.Path(path).copy(local)
        yield local


def move_folder(source: epath.Path, target: epath.Path) -> None:
    """Moves a folder to a path that does not exist yet; on cloud storage, which has no folders, file by file.

    If that is interrupted, the source stays: complete, or with files missing once all of them are at the target.
    """
    if not is_remote(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        return
    folders = [source]
    while folders:
        for path in folders.pop().iterdir():
            if path.is_dir():
                folders.append(path)
            else:
                moved = target / path.relative_to(source)
                moved.parent.mkdir(parents=True, exist_ok=True)
                path.copy(moved)
    source.rmtree()


class LocalFolder:
    """A folder to write into, ``path``: the target itself, or a local one whose files are copied to cloud storage."""

    def __init__(self, target: epath.PathLike, fetch: tuple[str, ...] = ()) -> None:
        """Makes the folder. Files named in ``fetch``, which are to be continued, are copied into it if they exist."""
        self._target = epath.Path(target)
        self._temporary = None
        self._uploaded: dict[Path, int] = {}
        if not is_remote(self._target):
            self.path = Path(self._target)
            self.path.mkdir(parents=True, exist_ok=True)
            return
        self._temporary = tempfile.TemporaryDirectory(prefix="musclemap_jax_")
        self.path = Path(self._temporary.name)
        for name in fetch:
            if (self._target / name).exists():
                (self.path / name).write_bytes((self._target / name).read_bytes())

    def upload(self) -> None:
        """Copies the files to cloud storage; those that did not grow since the last call are left out."""
        if self._temporary is None:
            return
        for path in sorted(self.path.rglob("*")):
            size = path.stat().st_size
            if path.is_file() and self._uploaded.get(path) != size:
                remote = self._target / path.relative_to(self.path).as_posix()
                remote.parent.mkdir(parents=True, exist_ok=True)
                remote.write_bytes(path.read_bytes())
                self._uploaded[path] = size

    def close(self) -> None:
        """Uploads and removes the local copy."""
        self.upload()
        if self._temporary is not None:
            self._temporary.cleanup()


def staged(folder: epath.PathLike, cache: Path) -> Path:
    """A copy, in a subfolder of ``cache``, of a remote folder without subfolders; a local folder is returned as it is.

    Files that were copied before are not copied again while they have the same size and time. The processes of a
    machine wait for the one that copies; an interrupted copy is repeated.
    """
    if not is_remote(folder):
        return Path(folder)
    local = cache / hashlib.sha256(os.fspath(folder).encode()).hexdigest()[:16]
    with one_process_at_a_time(local):
        for source in epath.Path(folder).iterdir():
            target, remote = local / source.name, source.stat()
            copied = target.stat() if target.exists() else None
            if not copied or (copied.st_size, int(copied.st_mtime)) != (remote.length, remote.mtime):
                unfinished = target.with_name(target.name + UNFINISHED)
                source.copy(unfinished, overwrite=True)
                os.utime(unfinished, (remote.mtime, remote.mtime))
                unfinished.replace(target)
    return local


@contextlib.contextmanager
def one_process_at_a_time(folder: Path) -> Generator[None]:
    """Lets one process of this machine at a time run the block; the lock file is in the folder, made if absent."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
