"""Fake cloud storage: paths that the operating system does not understand, no appending, objects complete or absent."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from etils.epath import backend

BUCKET = "gs://bucket"


class Store:
    """A backend of etils.epath whose objects are in a local folder.

    A test makes it the backend of every path: the property ``_backend`` of ``etils.epath.gpath._GPath``.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __getattr__(self, name):
        method = getattr(backend.os_backend, name)
        return lambda *arguments, **options: method(*map(self.local, arguments), **options)

    def open(self, path, mode):
        assert "a" not in mode or self.local(path) == path, "an object store cannot append"
        return _upload(self.local(path), mode) if "w" in mode else backend.os_backend.open(self.local(path), mode)

    def glob(self, path):
        found = backend.os_backend.glob(self.local(path))
        inside = os.fspath(path).startswith(BUCKET)
        return [f"{BUCKET}/{Path(each).relative_to(self.folder)}" if inside else each for each in found]

    def local(self, argument):
        """The local path of an object; other arguments unchanged."""
        if isinstance(argument, str | os.PathLike) and os.fspath(argument).startswith(BUCKET):
            return os.fspath(self.folder / os.fspath(argument).removeprefix(BUCKET).lstrip("/"))
        return argument


def _upload(path, mode):
    """A file that appears at the path when it is closed."""
    unfinished = f"{path}.{uuid.uuid4().hex}"
    file = backend.os_backend.open(unfinished, mode)
    close = file.close

    def finish():
        if not file.closed:
            close()
            os.replace(unfinished, path)

    file.close = finish
    return file
