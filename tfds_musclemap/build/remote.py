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

from musclemap_jax.data.modalities import stored_modalities
from musclemap_jax.data.modalities.modality import ClipSettings
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST, Manifest, read_manifest
from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.storage.files import is_remote


def read_raw_dataset(root: str | os.PathLike, settings: ClipSettings) -> tuple[list[Clip], Manifest]:
    """The annotations and the manifest of a raw data set.

    Raises UserError if they are invalid, or contradict the settings.
    """
    with local_files(root, (raw_dataset.ANNOTATIONS, MANIFEST)) as folder:
        clips, manifest = raw_dataset.read_annotations(folder), read_manifest(folder)
    for modality in stored_modalities(settings):
        modality.check_manifest(manifest, epath.Path(root) / MANIFEST, settings)  # ty: ignore[invalid-argument-type]  # for errors alone
    return clips, manifest


@contextlib.contextmanager
def local_files(root: str | os.PathLike, names: Sequence[str]) -> Generator[Path]:
    """A local folder with those of a raw data set's files that exist: its own folder, or copies if it is remote.

    The names are relative to the raw data set's folder.
    """
    if not is_remote(root):
        yield Path(root)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            source, copy = epath.Path(root) / name, Path(folder) / name
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
