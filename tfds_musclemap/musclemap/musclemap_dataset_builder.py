"""TFDS builder ``musclemap``: from the raw data set (mp4, AlphaPose JSON, csv) to ArrayRecord files.

Works with the ``tfds build`` command (which needs TensorFlow) and, without TensorFlow, by ``tfds_musclemap.prepare``.

It writes its shards itself (`build`, `beam_build`) and takes from TFDS what stands around them: versions, features,
metadata, reading. TFDS's generator based builder shuffles by a shuffler that needs TensorFlow as soon as a split passes
1 GB, holds that GB in memory, and writes everything twice; its shard based builder serialises in one process, which
two workers keep busy. Here each record is made where the clip is read and goes straight to its shard; the order within
a split is that of a hash of the clip id, so that shards are mixed all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
import tqdm
from etils import epath
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST, read_manifest
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.worker_pool import WorkerPool, num_cpus
from musclemap_jax.synthetic.generate import render
from tfds_musclemap.build import beam_build, build
from tfds_musclemap.build.build_folder import (
    build_lock,
    check_free_disk,
    disk_faults_are_user_errors,
    scratch_folder,
)
from tfds_musclemap.build.build_log import REJECTED, BuildLog
from tfds_musclemap.build.builder_config import CONFIGS
from tfds_musclemap.build.clip_reader import check_range
from tfds_musclemap.build.features import make_features
from tfds_musclemap.build.remote import local_annotations
from tfds_musclemap.build.shards import Shard, assign_clips, estimate_clip_bytes

HOMEPAGE = "https://github.com/KPeng9510/MuscleMap"


class Builder(FileReaderBuilder):
    """Builds ``musclemap``; see README.md beside this file for the features."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {  # noqa: RUF012 (TFDS's own declaration)
        "1.0.0": "Initial release.",
        "2.0.0": "Frames go from h264 to JPEG without a way through RGB: their pixels are nearer to the video's.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    MuscleMap is handed out by its authors under a user agreement: {HOMEPAGE}
    manual_dir is a folder with annotations.csv (clip_id,split,activity,muscles), clips/<clip_id>.mp4,
    skeletons/<clip_id>.json (AlphaPose results) and, where there is flow, flow/<clip_id>_x.mp4 and _y.mp4.
    """
    BUILDER_CONFIGS = list(CONFIGS)  # noqa: RUF012

    def __init__(
        self,
        *,
        file_format: str | None = None,
        num_workers: int | None = None,
        max_rejected_fraction: float | None = None,
        **kwargs: Any,
    ):
        """
        Args:
          file_format: TFDS's name of a record format; ``array_record`` unless the data is there in another one.
          num_workers: processes that decode; by default the CPUs that this process may use.
          max_rejected_fraction: by default that of the config.
          **kwargs: see ``tfds.core.DatasetBuilder``.

        Raises:
          UserError: a number out of its range.
        """
        super().__init__(file_format=file_format, **kwargs)
        if file_format is None and not self.data_path.exists():
            self.info.set_file_format("array_record", override=True)
        config_share = self.builder_config.max_rejected_fraction
        self._max_rejected_share = config_share if max_rejected_fraction is None else max_rejected_fraction
        check_range("max_rejected_fraction", self._max_rejected_share, 0, 1)
        self._num_workers = num_cpus() if num_workers is None else num_workers
        check_range("num_workers", self._num_workers, 1, 1024)

    def _info(self) -> tfds.core.DatasetInfo:
        features = make_features(self.builder_config.modalities, self.builder_config.skeleton_layout)
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
          UserError: no raw data set, faults of its annotations, too little disk, too many clips rejected, or data that
            is there but was made of something else. A failed build leaves no data set behind.
        """
        download_config = download_config or tfds.download.DownloadConfig()
        final_path = epath.Path(self.data_path)
        overwrite = download_config.download_mode.overwrite_dataset
        if self.builder_config.synthetic:
            root = None
        else:
            downloads = epath.Path(download_dir or epath.Path(self._data_dir_root) / "downloads")
            root = epath.Path(download_config.manual_dir or downloads / "manual")
        if final_path.exists() and not overwrite:
            self._check_made_of(root if download_config.manual_dir else None)
            super().download_and_prepare(download_dir=download_dir, download_config=download_config, **kwargs)
            return
        if root:
            self._check_raw_dataset(root)
        if _uses_beam(download_config):
            beam_build.check_beam()
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
            self._root = os.fspath(root)
            super().download_and_prepare(download_dir=download_dir, download_config=download_config, **kwargs)
        print(self.summary())

    def summary(self) -> str:
        """One line: clips of each split of the prepared data, and how many were rejected."""
        counts = ", ".join(f"{name} {split.num_examples}" for name, split in self.info.splits.items())
        metadata = self.info.metadata
        return (
            f"{self.info.full_name}: {counts} clips; rejected {metadata['num_rejected']} of {metadata['num_clips']}, "
            f"see {self.data_path / REJECTED}"
        )

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Runs inside TFDS's temporary folder, which ``self.data_path`` is meanwhile; renamed if all went well."""
        config = self.builder_config
        with local_annotations(self._root) as folder:
            clips, name, digest = raw_dataset.read_annotations(folder), read_manifest(folder).name, _digest(folder)
        clip_bytes = estimate_clip_bytes(self._root, clips, config.clip_settings())
        check_free_disk(epath.Path(self._data_dir_root), len(clips) * clip_bytes)
        log = BuildLog(len(clips), self._max_rejected_share)
        shards = self._shards(clips, clip_bytes)
        in_order = [shard for of_split in shards.values() for shard in of_split]
        if _uses_beam(download_config):
            options, runner = download_config.beam_options, download_config.beam_runner
            beam_build.write_shards(self._root, in_order, config.clip_settings(), options, runner, log)
        else:
            with (
                WorkerPool(self._num_workers) as pool,
                tqdm.tqdm(total=len(clips), desc=self.info.full_name, unit="clip", disable=None) as progress,
            ):
                build.write_shards(self._root, in_order, config.clip_settings(), pool, log, progress.update)
        self._set_splits(shards, log)
        log.write(epath.Path(self.data_path))
        self.info.metadata.update(
            made_of=config.made_of(),
            annotations_sha256=digest,
            release=name,
            num_clips=len(clips),
            num_rejected=len(log.rejected),
        )

    def _shards(self, clips: list[raw_dataset.Clip], clip_bytes: int) -> dict[str, list[Shard]]:
        """The files of each split."""
        shards = {}
        for split, of_split in assign_clips(clips, clip_bytes).items():
            template = self._get_filename_template(split_name=split)
            paths = [
                os.fspath(template.sharded_filepath(shard_index=index, num_shards=len(of_split)))
                for index in range(len(of_split))
            ]
            file_format = self.info.file_format.value
            shards[split] = [
                Shard(path, file_format, clips_of_shard) for path, clips_of_shard in zip(paths, of_split, strict=True)
            ]
        return shards

    def _set_splits(self, shards: dict[str, list[Shard]], log: BuildLog) -> None:
        """Tells TFDS what was written."""
        stored = {each.clip.clip_id for each in log.stored}
        infos = [
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[sum(clip.clip_id in stored for clip in shard.clips) for shard in of_split],
                num_bytes=sum(epath.Path(shard.path).stat().length for shard in of_split),
                filename_template=self._get_filename_template(split_name=split),
            )
            for split, of_split in shards.items()
        ]
        self.info.set_splits(tfds.core.SplitDict(infos))

    def _as_dataset(self, split: Any, decoders: Any = None, read_config: Any = None, shuffle_files: bool = False):
        """TFDS has no tf.data of ArrayRecord files: read them by random access."""
        if self.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
            return super()._as_dataset(split, decoders, read_config, shuffle_files)
        from tfds_musclemap.build.tf_dataset import array_record_dataset  # TensorFlow is an extra

        return array_record_dataset(self.info, split, decoders, read_config, shuffle_files)

    def _check_raw_dataset(self, root: Path) -> None:
        """Raises UserError if the raw folder is absent or its annotations are at fault."""
        if not root.is_dir() or not any(root.iterdir()):
            raise UserError(
                f"{self.data_path}: no prepared data, and no raw data set to build it from in {root}: get MuscleMap "
                f"from its authors under their licence (user agreement, {HOMEPAGE}) and run `tfds build "
                f"tfds_musclemap/musclemap --config={self.builder_config.name} --manual_dir=FOLDER "
                f"--data_dir={self._data_dir_root}`; or, without it, train on rendered data by "
                f"--config=configs/transm3e.py:synthetic"
            )
        with local_annotations(root) as folder:
            raw_dataset.read_annotations(folder)
            layout = read_manifest(folder).skeleton_layout
        if "skeleton" in self.builder_config.modalities and layout not in (None, self.builder_config.skeleton_layout):
            raise UserError(
                f"{root / MANIFEST}: expected skeletons in layout {self.builder_config.skeleton_layout}, which the "
                f"build is of, got {layout}: build with skeleton_layout={layout!r}"
            )

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
        if root and (root / raw_dataset.ANNOTATIONS).is_file() and metadata["annotations_sha256"] != _digest(root):
            raise UserError(
                f"{self.data_path}: expected data made of {root / raw_dataset.ANNOTATIONS}, found data made of other "
                f"annotations: remove the folder or choose another data_dir"
            )

    def _log_download_bytes(self) -> None:
        """TFDS announces a download in bold letters; there is none."""

    def _log_download_done(self) -> None:
        """``summary`` is the last line."""


def _uses_beam(download_config: tfds.download.DownloadConfig) -> bool:
    return bool(download_config.beam_runner or download_config.beam_options)


def _digest(root: Path) -> str:
    return hashlib.sha256((root / raw_dataset.ANNOTATIONS).read_bytes()).hexdigest()
