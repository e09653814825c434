"""TFDS builder ``musclemap``: from the raw distribution (mp4, AlphaPose JSON, csv) to ArrayRecord files.

Works with the ``tfds build`` command (which needs TensorFlow) and, without TensorFlow, by ``tfds_musclemap.prepare``.

It is a shard based builder, not a generator based one, for three reasons: TFDS's shuffler needs TensorFlow as soon as
a split passes 1 GB, holds that GB in memory, and writes everything twice. Here each clip goes straight to its shard;
the order within a split is that of a hash of the clip id, so that shards are mixed all the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from musclemap_jax import taxonomy
from musclemap_jax.data import distribution
from musclemap_jax.data.synthetic.generate import render
from musclemap_jax.data.synthetic.spec import SyntheticSpec
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import get_layout
from tfds_musclemap.build import Build, Record, estimate_clip_bytes
from tfds_musclemap.build_folder import (
    build_lock,
    check_free_disk,
    disk_faults_are_user_errors,
    scratch_folder,
)
from tfds_musclemap.build_log import REJECTED, BuildLog
from tfds_musclemap.clip_reader import ClipSettings
from tfds_musclemap.worker_pool import WorkerPool

HOMEPAGE = "https://github.com/KPeng9510/MuscleMap"


_SMOKE = SyntheticSpec(
    clips_per_activity={"train": 4, "val_known": 1, "test_known": 1, "val_new": 1, "test_new": 2},
    size=64,
    num_frames=(16, 24),
    activities=(
        "bodyweight squat",
        "push-up",
        "jumping jack",
        "biceps curl",
        "russian twist",
        "lateral raise",
        "lunge with biceps curl",
        "hanging knee raise",
        "renegade row",
    ),
)


def check_range(name: str, value: float, lowest: float, highest: float) -> None:
    """Raises UserError unless lowest <= value <= highest."""
    if not lowest <= value <= highest:
        raise UserError(f"{name}: expected {lowest} to {highest}, got {value}")


@dataclasses.dataclass(eq=False)
class MuscleMapConfig(tfds.core.BuilderConfig):
    """A configuration of the builder.

    Attributes:
      skeleton_layout: joint order that the distribution's skeleton files have.
      require_skeleton: whether a clip without a skeleton is rejected.
      short_side: pixels of the stored frames' short side; smaller videos keep their size.
      jpeg_quality: 1 to 100.
      max_persons: persons kept a clip.
      max_rejected_share: share of all clips, 0 to 1, past which the build ends with an error.
      synthetic: what to render; None where the distribution is given by the user.
    """

    skeleton_layout: str = ClipSettings.skeleton_layout
    require_skeleton: bool = ClipSettings.require_skeleton
    short_side: int = ClipSettings.short_side
    jpeg_quality: int = ClipSettings.jpeg_quality
    max_persons: int = ClipSettings.max_persons
    max_rejected_share: float = 0.05
    synthetic: SyntheticSpec | None = None

    def __post_init__(self):
        get_layout(self.skeleton_layout)
        check_range("short_side", self.short_side, 16, 4096)
        check_range("jpeg_quality", self.jpeg_quality, 1, 100)
        check_range("max_persons", self.max_persons, 1, 100)

    def clip_settings(self) -> ClipSettings:
        """The part that concerns the reading of one clip."""
        fields = dataclasses.fields(ClipSettings)
        return ClipSettings(**{field.name: getattr(self, field.name) for field in fields})

    def made_of(self) -> dict[str, Any]:
        """What determines the prepared data, as JSON values."""
        settings = dataclasses.asdict(self.clip_settings())
        return settings | {"synthetic": json.loads(self.synthetic.to_json()) if self.synthetic else None}


class Builder(tfds.core.ShardBasedBuilder):
    """Builds ``musclemap``; see README.md beside this file for the features."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012 (TFDS's own declaration)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    MuscleMap is handed out by its authors under a user agreement: {HOMEPAGE}
    manual_dir is a folder with annotations.csv (clip_id,split,activity,muscles), clips/<clip_id>.mp4 and
    skeletons/<clip_id>.json (AlphaPose results).
    """
    BUILDER_CONFIGS = [  # noqa: RUF012
        MuscleMapConfig(name="multimodal", description="RGB frames and 2D skeletons of the user's distribution."),
        MuscleMapConfig(
            name="synthetic",
            description="RGB frames and 2D skeletons of a distribution that the builder renders itself.",
            synthetic=SyntheticSpec(),
        ),
        MuscleMapConfig(
            name="synthetic_smoke",
            description="As synthetic, a few small clips: for a first run and for tests.",
            synthetic=_SMOKE,
        ),
    ]

    def __init__(
        self,
        *,
        file_format: str | None = None,
        num_workers: int | None = None,
        max_rejected_share: float | None = None,
        **kwargs: Any,
    ):
        """
        Args:
          file_format: TFDS's name of a record format; ``array_record`` unless the data is there in another one.
          num_workers: processes that decode; by default the CPUs that this process may use.
          max_rejected_share: by default that of the config.
          **kwargs: see ``tfds.core.DatasetBuilder``.

        Raises:
          UserError: a number out of its range.
        """
        super().__init__(file_format=file_format, **kwargs)
        if file_format is None and not self.data_path.exists():
            self.info.set_file_format("array_record", override=True)
        config_share = self.builder_config.max_rejected_share
        self._max_rejected_share = config_share if max_rejected_share is None else max_rejected_share
        check_range("max_rejected_share", self._max_rejected_share, 0, 1)
        self._num_workers = _num_cpus() if num_workers is None else num_workers
        check_range("num_workers", self._num_workers, 1, 1024)

    def _info(self) -> tfds.core.DatasetInfo:
        num_joints = get_layout(self.builder_config.skeleton_layout).num_joints
        features = tfds.features.FeaturesDict(
            {
                "clip_id": tfds.features.Text(),
                "activity": tfds.features.Text(),
                "muscles": tfds.features.Tensor(shape=(taxonomy.NUM_REGIONS,), dtype=np.uint8),
                "fps": tfds.features.Scalar(dtype=np.float32),
                "frames": tfds.features.Sequence(
                    tfds.features.Image(shape=(None, None, 3), dtype=np.uint8, encoding_format="jpeg")
                ),
                "skeleton": tfds.features.Tensor(
                    shape=(None, None, num_joints, 3), dtype=np.float32, encoding=tfds.features.Encoding.ZLIB
                ),
                "skeleton_layout": tfds.features.Text(),
            }
        )
        return self.dataset_info_from_configs(features=features, homepage=HOMEPAGE, metadata=tfds.core.MetadataDict())

    def download_and_prepare(
        self,
        *,
        download_dir: str | os.PathLike | None = None,
        download_config: tfds.download.DownloadConfig | None = None,
        **kwargs: Any,
    ) -> None:
        """Builds the data set unless it is there; see ``tfds.core.DatasetBuilder.download_and_prepare``.

        Raises:
          UserError: no distribution, faults of its annotations, too little disk, too many clips rejected, or data that
            is there but was made of something else. A failed build leaves no data set behind.
        """
        download_config = download_config or tfds.download.DownloadConfig()
        final_path = Path(self.data_path)
        overwrite = download_config.download_mode.overwrite_dataset
        if self.builder_config.synthetic:
            root = None
        else:
            downloads = Path(download_dir or Path(self._data_dir_root, "downloads"))
            root = Path(download_config.manual_dir or downloads / "manual")
        if final_path.exists() and not overwrite:
            self._check_made_of(root if download_config.manual_dir else None)
            super().download_and_prepare(download_dir=download_dir, download_config=download_config, **kwargs)
            return
        if root:
            self._check_distribution(root)
        check_free_disk(final_path, 0)
        with contextlib.ExitStack() as stack:
            stack.enter_context(disk_faults_are_user_errors(final_path))
            stack.enter_context(build_lock(final_path))
            if final_path.exists() and not overwrite:  # by the process that held the lock
                self.info.read_from_directory(final_path)
                return
            if root is None:
                root = stack.enter_context(scratch_folder(final_path))
                render(root, self.builder_config.synthetic, self._num_workers, progress=sys.stderr.isatty())
            self._root = root
            super().download_and_prepare(download_dir=download_dir, download_config=download_config, **kwargs)
        print(self.summary())

    def summary(self) -> str:
        """One line: clips of each split of the prepared data, and how many were rejected."""
        counts = ", ".join(f"{name} {split.num_examples}" for name, split in self.info.splits.items())
        metadata = self.info.metadata
        return (
            f"{self.info.full_name}: {counts} clips; rejected {metadata['num_rejected']} of {metadata['num_clips']}, "
            f"see {Path(self.data_path) / REJECTED}"
        )

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Runs inside TFDS's temporary folder, which ``self.data_path`` is meanwhile; renamed if all went well."""
        config = self.builder_config
        clips = distribution.read_annotations(self._root)
        clip_bytes = estimate_clip_bytes(self._root, clips, config.clip_settings())
        check_free_disk(Path(self._data_dir_root), len(clips) * clip_bytes)
        log = BuildLog(len(clips), self._max_rejected_share)
        with (
            WorkerPool(self._num_workers) as pool,
            tqdm.tqdm(total=len(clips), desc=self.info.full_name, unit="clip", disable=None) as progress,
        ):
            self._build = Build(self._root, clips, config.clip_settings(), clip_bytes, log, pool, progress)
            super()._download_and_prepare(dl_manager, download_config)
        log.write(Path(self.data_path))
        self.info.metadata.update(
            made_of=config.made_of(),
            annotations_sha256=_digest(self._root),
            num_clips=len(clips),
            num_rejected=len(log.rejected),
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator[Record]]]]:
        return self._build.shards()

    def _check_distribution(self, root: Path) -> None:
        """Raises UserError if the raw folder is absent or its annotations are at fault."""
        if not root.is_dir() or not any(root.iterdir()):
            raise UserError(
                f"{self.data_path}: no prepared data, and no distribution to build it from in {root}: get MuscleMap "
                f"from its authors under their licence (user agreement, {HOMEPAGE}) and run `tfds build "
                f"tfds_musclemap/musclemap --config={self.builder_config.name} --manual_dir=FOLDER "
                f"--data_dir={self._data_dir_root}`; or, without it, train on rendered data by "
                f"--config=configs/transm3e.py:synthetic"
            )
        distribution.read_annotations(root)

    def _check_made_of(self, root: Path | None) -> None:
        """Raises UserError if the prepared data was made by other settings or of other annotations than asked for."""
        metadata = self.info.metadata
        expected = self.builder_config.made_of()
        found = metadata.get("made_of", {})
        different = [name for name in expected if expected[name] != found.get(name)]
        if different:
            name = different[0]
            raise UserError(
                f"{self.data_path}: expected data made with {name}={expected[name]!r}, found {found.get(name)!r}: "
                f"remove the folder or choose another data_dir"
            )
        if root and (root / distribution.ANNOTATIONS).is_file() and metadata["annotations_sha256"] != _digest(root):
            raise UserError(
                f"{self.data_path}: expected data made of {root / distribution.ANNOTATIONS}, found data made of other "
                f"annotations: remove the folder or choose another data_dir"
            )

    def _log_download_bytes(self) -> None:
        """TFDS announces a download in bold letters; there is none."""

    def _log_download_done(self) -> None:
        """``summary`` is the last line."""


def _num_cpus() -> int:
    """CPUs that this process may use, where the system tells (Linux)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _digest(root: Path) -> str:
    return hashlib.sha256((root / distribution.ANNOTATIONS).read_bytes()).hexdigest()
