"""Raw data sets and data sets on object stores (``gs://``, ``s3://``), as builds on Dataflow and its like have them.

PyAV and ArrayRecord know files of this machine only, so a clip is copied here to be read, and a shard is written here
and copied there. Paths are etils.epath's, as TFDS's are.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from musclemap_jax.data.raw import flow, raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST
from musclemap_jax.storage.files import is_remote


@contextlib.contextmanager
def local_clip(root: str | os.PathLike, clip_id: str) -> Iterator[Path]:
    """A folder of this machine that holds a clip's files as the raw data set does: that itself, unless it is remote."""
    if not is_remote(root):
        yield Path(root)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = (raw_dataset.video_path, raw_dataset.skeleton_path)
        paths = [path_of(folder, clip_id) for path_of in files] + list(flow.flow_paths(folder, clip_id))
        for path in paths:
            source = epath.Path(root) / path.relative_to(folder).as_posix()
            if source.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                source.copy(path)
        yield Path(folder)


@contextlib.contextmanager
def local_annotations(root: str | os.PathLike) -> Iterator[Path]:
    """As `local_clip`, with ``annotations.csv`` and ``raw_dataset.json``."""
    if not is_remote(root):
        yield Path(root)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in (raw_dataset.ANNOTATIONS, MANIFEST):
            source = epath.Path(root) / name
            if source.exists():
                source.copy(Path(folder) / name)
        yield Path(folder)


@contextlib.contextmanager
def written_locally(path: str | os.PathLike) -> Iterator[str]:
    """A path to write a file to; if the wanted one is remote, the file is copied there afterwards, at once."""
    if not is_remote(path):
        yield os.fspath(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / epath.Path(path).name
        yield os.fspath(local)
        epath.Path(local).copy(path, overwrite=True)
