"""Raw and prepared data sets on object stores (``gs://``, ``s3://``), as builds on Dataflow and the like have them.

PyAV and ArrayRecord can only use local files, so a clip is copied here to be read, and a shard is written here and then
copied to the store. Paths are etils.epath's, as TFDS's are.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

from etils import epath

from musclemap_jax.data.modalities import MODALITIES
from musclemap_jax.data.modalities.modality import RawClip
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST
from musclemap_jax.storage.files import is_remote


def local_clip(root: str | os.PathLike, clip_id: str) -> contextlib.AbstractContextManager[Path]:
    """A local folder with a clip's files laid out as in the raw data set, which it is itself unless that is remote."""
    clip = RawClip(Path(), clip_id)
    files = [path for modality in MODALITIES.values() for path in modality.raw_files(clip)]
    return _local_files(root, [raw_dataset.video_path("", clip_id), *files])


def local_annotations(root: str | os.PathLike) -> contextlib.AbstractContextManager[Path]:
    """As `local_clip`, for ``annotations.csv`` and ``raw_dataset.json``."""
    return _local_files(root, [Path(raw_dataset.ANNOTATIONS), Path(MANIFEST)])


@contextlib.contextmanager
def _local_files(root: str | os.PathLike, names: Sequence[Path]) -> Generator[Path]:
    """A local folder with those files of the raw data set that exist; the names are relative to its folder."""
    if not is_remote(root):
        yield Path(root)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            source, copy = epath.Path(root) / name.as_posix(), Path(folder) / name
            if source.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                source.copy(copy)
        yield Path(folder)


@contextlib.contextmanager
def written_locally(path: str | os.PathLike) -> Generator[str]:
    """A local path to write a file to; if the target is remote, the finished file is then copied there."""
    if not is_remote(path):
        yield os.fspath(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / epath.Path(path).name
        yield os.fspath(local)
        epath.Path(local).copy(path, overwrite=True)
