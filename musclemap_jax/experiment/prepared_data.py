"""The prepared clips of a run, made from the raw data set if they are absent."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
from collections.abc import Sequence

import jax
import numpy as np

from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import DataSpec
from musclemap_jax.runtime.cache_folder import cache_folder
from musclemap_jax.storage.files import one_process_at_a_time, staged
from musclemap_jax.taxonomy import SPLITS
from tfds_musclemap.musclemap.musclemap_dataset_builder import Builder
from tfds_musclemap.prepare import prepare
from tfds_musclemap.source import ClipSource, split_annotations, stored_clips

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """The prepared clips of a run.

    Attributes:
      sources: Split -> random access to its records; splits without clips are absent.
      clips: Split -> annotations, in the source's order.
      regions: K names of the muscle regions, in label order.
    """

    sources: dict[str, ClipSource]
    clips: dict[str, list[Clip]]
    regions: tuple[str, ...]

    @property
    def clip_length_s(self) -> float:
        """Median length of the training clips in seconds."""
        return float(np.median([clip.num_frames / clip.fps for clip in stored_clips(self.sources["train"])]))

    def train_frequency(self) -> np.ndarray:
        """(K,) number of training clips that show each region."""
        muscles = [index for clip in self.clips["train"] for index in clip.muscles]
        return np.bincount(np.array(muscles, int), minlength=len(self.regions))

    def with_clips(self, splits: Sequence[str], setting: str = "config.eval.splits") -> list[str]:
        """The given splits that have clips; the others are logged.

        Args:
          splits: Names of splits.
          setting: Where they were chosen, for the message.

        Raises:
          UserError: None of them has any.
        """
        present = [split for split in splits if split in self.sources]
        for split in sorted(set(splits) - set(present)):
            log.warning("split %s has no clips and is not evaluated", split)
        if not present:
            raise UserError(f"{setting}: none of {', '.join(splits)} has clips: choose others or add clips")
        return present


def prepare_data(spec: DataSpec) -> Builder:
    """Prepares the data if it is absent; the TFDS builder that has it.

    Raises:
      UserError: No data and nothing to build it from, data that is out of date, or the raw data set is invalid.
    """
    return prepare(
        spec.builder,
        spec.data_dir or None,
        raw_dir=spec.raw_dir or None,
        max_rejected_fraction=spec.max_rejected_fraction,
        rebuild=spec.rebuild,
        skeleton_layout=spec.skeleton_layout,
    )


def load_data(spec: DataSpec) -> PreparedData:
    """Opens the prepared data; calls the TFDS builder if there is none.

    Data on cloud storage is first copied into this machine's cache folder.

    Raises:
      UserError: No data and nothing to build it from, data that is out of date, or the raw data set is invalid.
    """
    with _turn_to_prepare(spec):
        builder = prepare_data(spec)
    present = [split for split in SPLITS if split in builder.info.splits and builder.info.splits[split].num_examples]
    folder = staged(builder.data_path, cache_folder() / "data")
    sources = {split: ClipSource(folder, split) for split in present}
    if "train" not in sources:
        raise UserError(f"{builder.data_path}: split train has no clips: add some to annotations.csv")
    return PreparedData(
        sources=sources,
        clips={split: split_annotations(source) for split, source in sources.items()},
        regions=sources["train"].regions,
    )


def _turn_to_prepare(spec: DataSpec) -> contextlib.AbstractContextManager[None]:
    """Lets the run's processes on this machine prepare one after another: the first does the work."""
    if jax.process_count() == 1:
        return contextlib.nullcontext()
    name = hashlib.sha256(f"{spec.builder} {spec.data_dir}".encode()).hexdigest()[:16]
    return one_process_at_a_time(cache_folder() / "locks" / name)
