"""Files that may lie on cloud storage (``gs://``), which knows no appending and no renaming."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import fsspec.config
from etils import epath


def list_remote_folders_anew() -> None:
    """Has each look into a folder of cloud storage ask the storage; call it before the first ``gs://`` path is touched.

    gcsfs remembers what a folder held, and so misses the checkpoints that another process has written or set aside.
    """
    fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is of cloud storage."""
    return "://" in os.fspath(path)


def replace_text(path: epath.Path, text: str) -> None:
    """Writes a whole file so that a reader, or a kill in the middle, sees the old text or the new one."""
    if is_remote(path):  # an object appears when it is whole
        path.write_text(text)
        return
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.replace(path)


def move_folder(source: epath.Path, target: epath.Path) -> None:
    """Moves a folder to a place that is not there yet; on cloud storage, which has no folders, file by file.

    Cut short there, the source stays: whole, or with files missing once all of them are at the target.
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
    """A folder to write into: the target itself, or one on the local disk whose files are copied to cloud storage.

    Attributes:
      path: to write into.
    """

    def __init__(self, target: epath.PathLike, fetch: tuple[str, ...] = ()) -> None:
        """Makes the folder.

        Args:
          target: where the files belong.
          fetch: names of files that are to be gone on with, where they exist.
        """
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
        """Brings what was written so far to where it belongs; files that did not grow are left out."""
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
    """A local folder with the files of a remote one, which are copied where they are not there yet.

    The processes of a machine wait for the one that copies; a copy that was cut short is done again.

    Args:
      folder: with files and no folders; a local one is returned as it is.
      cache: where copies are kept, one folder for each remote one.
    """
    if not is_remote(folder):
        return Path(folder)
    name = hashlib.sha256(os.fspath(folder).encode()).hexdigest()[:16]
    local = cache / name
    with one_process_at_a_time(local):
        for source in epath.Path(folder).iterdir():
            target = local / source.name
            if not target.exists() or target.stat().st_size != source.stat().length:
                part = target.with_name(target.name + ".part")
                source.copy(part, overwrite=True)
                part.replace(target)
    return local


@contextlib.contextmanager
def one_process_at_a_time(folder: Path) -> Generator[None]:
    """Lets one process of this machine in; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
