"""Files that may lie on cloud storage (``gs://``), which knows no appending and no renaming."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from etils import epath


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is of cloud storage."""
    return "://" in str(path)


def replace_text(path: epath.Path, text: str) -> None:
    """Writes a whole file so that a reader, or a kill in the middle, sees the old text or the new one."""
    if is_remote(path):  # an object appears when it is whole
        path.write_text(text)
        return
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.replace(path)


class LocalCopy:
    """A file that grows: written here, and copied whole to cloud storage where it belongs there.

    Attributes:
      path: on the local disk, to be written to; the file itself where that lies on a local disk.
    """

    def __init__(self, target: epath.Path) -> None:
        """Makes the folder of the file, and fetches the file where it is remote and exists.

        Args:
          target: where the file belongs.
        """
        self._target = target
        self._folder = None
        target.parent.mkdir(parents=True, exist_ok=True)
        if not is_remote(target):
            self.path = Path(target)
            return
        self._folder = tempfile.TemporaryDirectory(prefix="musclemap_jax_")
        self.path = Path(self._folder.name) / target.name
        if target.exists():
            self.path.write_bytes(target.read_bytes())

    def upload(self) -> None:
        """Brings what was written so far to where it belongs."""
        if self._folder is not None and self.path.exists():
            self._target.write_bytes(self.path.read_bytes())

    def close(self) -> None:
        """Uploads and removes the local copy."""
        self.upload()
        if self._folder is not None:
            self._folder.cleanup()


@contextlib.contextmanager
def writing_folder(target: epath.Path) -> Iterator[Path]:
    """A local folder to write into: the target itself, or one that is copied to cloud storage at the end.

    Args:
      target: where the files belong.
    """
    if not is_remote(target):
        yield Path(target)
        return
    with tempfile.TemporaryDirectory(prefix="musclemap_jax_") as name:
        yield Path(name)
        for path in sorted(Path(name).rglob("*")):
            if path.is_file():
                remote = target / path.relative_to(name)
                remote.parent.mkdir(parents=True, exist_ok=True)
                remote.write_bytes(path.read_bytes())
