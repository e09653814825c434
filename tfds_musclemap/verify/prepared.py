"""A prepared data set as it is found on disk: the records, read and decoded, and what its lists and metadata state."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tqdm

from musclemap_jax import taxonomy
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.worker_pool import WorkerPool
from tfds_musclemap.build.build_log import StoredClip, read_rejected, read_stored_clips
from tfds_musclemap.source import read_info
from tfds_musclemap.verify.clips import ClipFacts, examine_split


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Attributes:
      clips: Facts about every clip, split by split in the order of the records.
      split_sizes: Split -> the number of clips that the data set states.
      listed: Split -> the rows of ``clips.csv``.
      rejected: The rows of ``rejected.csv``: clip id, split, reason.
      metadata: The data set's metadata, such as ``num_clips``, ``num_rejected`` and ``release``.
      name: TFDS's full name of the data set.
    """

    clips: Sequence[ClipFacts]
    split_sizes: dict[str, int]
    listed: dict[str, list[StoredClip]]
    rejected: Sequence[tuple[str, str, str]]
    metadata: dict[str, Any]
    name: str = ""


def find_data_sets(data_dir: str | os.PathLike, config: str | None = None) -> list[Path]:
    """Folders of the prepared data sets, or of one builder config's, in a TFDS data_dir or such a folder itself.

    Raises UserError if there is none.
    """
    data_dir = Path(data_dir).expanduser()
    if (data_dir / "dataset_info.json").is_file():
        return [data_dir]
    folders = sorted(path.parent for path in data_dir.glob(f"musclemap/{config or '*'}/[0-9]*/dataset_info.json"))
    if not folders:
        wanted = f"musclemap/{config}" if config else "musclemap"
        raise UserError(f"{data_dir}: expected prepared data of {wanted}, found none: run tfds_musclemap.prepare")
    return folders


def read_prepared(folder: Path, num_workers: int = 1) -> Prepared:
    """Reads all of the prepared data set in a folder, ``<data_dir>/musclemap/<config>/<version>``, with a progress bar.

    Raises UserError if TFDS's description or the lists of the build are missing or invalid.
    """
    info = read_info(folder)
    sizes = {split: info.splits[split].num_examples for split in taxonomy.SPLITS if split in info.splits}
    try:
        listed, rejected = read_stored_clips(folder), read_rejected(folder)
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder}: expected clips.csv and rejected.csv next to the records, as the builder writes them "
            f"({type(error).__name__}: {error}): delete this folder and prepare the data again"
        ) from error
    clips: list[ClipFacts] = []
    total = sum(sizes.values())
    with WorkerPool(num_workers) as pool, tqdm.tqdm(total=total, desc="verifying", unit="clip", disable=None) as bar:
        for split, num_clips in sizes.items():
            if num_clips:
                clips += examine_split(folder, split, pool, bar.update)
    return Prepared(clips, sizes, listed, rejected, dict(info.metadata or {}), info.full_name)
