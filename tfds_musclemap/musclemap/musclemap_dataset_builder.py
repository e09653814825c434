"""TFDS builder ``musclemap``: from the raw data set (mp4, AlphaPose JSON, csv) to ArrayRecord files.

It runs under the ``tfds build`` command, which needs TensorFlow, and without TensorFlow by ``tfds_musclemap.prepare``.

It writes the shards itself (`build`, `beam_build`) and uses TFDS for the rest: versions, features, metadata, reading.
TFDS's generator-based builder shuffles by a shuffler that needs TensorFlow once a split exceeds 1 GB, holds that GB in
memory and writes everything twice; its shard-based builder serialises in one process, which two workers already keep
busy. Here each record is made where the clip is read and goes straight to its shard. Within a split, the clips are in
the order of a hash of their ids, so that shards are mixed all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

import tensorflow_datasets as tfds
import tqdm
from etils import epath
from google.protobuf import json_format
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.worker_pool import WorkerPool, num_cpus
from musclemap_jax.synthetic.generate import render
from tfds_musclemap.build import beam_build, build
from tfds_musclemap.build.build_folder import build_lock, check_free_disk, disk_faults_are_user_errors, scratch_folder
from tfds_musclemap.build.build_log import REJECTED, BuildLog
from tfds_musclemap.build.builder_config import CONFIGS, check_range
from tfds_musclemap.build.changes import find_changes, has_files, manifest_values
from tfds_musclemap.build.features import make_features
from tfds_musclemap.build.remote import read_raw_dataset
from tfds_musclemap.build.shards import Shard, assign_clips, choose_clips, estimate_clip_bytes

HOMEPAGE = "https://github.com/KPeng9510/MuscleMap"

_REBUILD = "build it again with --overwrite (in a run, with --config.data.rebuild=True) or choose another data_dir"

_UNSUPPORTED = ("num_shards", "min_shard_size", "max_shard_size")
"""Fields of TFDS's DownloadConfig that would be ignored."""


class Builder(FileReaderBuilder):
    """Builds ``musclemap``; README.md in this folder describes the features."""

    VERSION = tfds.core.Version("4.0.0")
    RELEASE_NOTES = {  # noqa: RUF012 (TFDS's own declaration)
        "1.0.0": "Initial release.",
        "2.0.0": "Frames are converted from h264 to JPEG without RGB in between, which is closer to the video.",
        "3.0.0": "The data holds the names of the muscle regions, which the raw data set may choose.",
        "4.0.0": "The data holds the list of the raw files that it was made of.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    MuscleMap is handed out by its authors under a user agreement: {HOMEPAGE}
    manual_dir is a folder with annotations.csv (clip_id,split,activity,muscles), clips/<clip_id>.mp4,
    skeletons/<clip_id>.json (AlphaPose results) and, optionally, flow/<clip_id>_x.mp4 and _y.mp4.
    """
    BUILDER_CONFIGS = list(CONFIGS)  # noqa: RUF012

    def __init__(
        self,
        *,
        file_format: str | None = None,
        num_workers: int | None = None,
        max_rejected_fraction: float | None = None,
        rebuild: bool = False,
        **kwargs: Any,
    ):
        """Takes ``tfds.core.DatasetBuilder``'s arguments too.

        Args:
          file_format: TFDS's name of a record format; ``array_record`` unless the data exists in another one.
          num_workers: Processes that decode; by default the CPUs that this process may use.
          max_rejected_fraction: See MuscleMapConfig; by default that of the config.
          rebuild: Whether existing data that is out of date is built again; otherwise it is an error.
          **kwargs: The other arguments.

        Raises:
          UserError: A number is out of its range, or what describes the existing data is damaged.
        """
        try:
            super().__init__(file_format=file_format, **kwargs)
            dict(self.info.metadata or {})  # reads its file
        except (json_format.ParseError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(
                f"{self._data_dir}: dataset_info.json or metadata.json of the prepared data is damaged ({error}): "
                "delete this folder, so that the data is prepared again"
            ) from error
        if file_format is None and not self.data_path.exists():
            self.info.set_file_format("array_record", override=True)
        default = self.builder_config.max_rejected_fraction
        self._max_rejected_fraction = default if max_rejected_fraction is None else max_rejected_fraction
        check_range("max_rejected_fraction", self._max_rejected_fraction, 0, 1)
        self._num_workers = num_cpus() if num_workers is None else num_workers
        check_range("num_workers", self._num_workers, 1, 1024)
        self._rebuild = rebuild

    def _info(self) -> tfds.core.DatasetInfo:
        features = make_features(self.builder_config.clip)
        return self.dataset_info_from_configs(features=features, homepage=HOMEPAGE, metadata=tfds.core.MetadataDict())

    def download_and_prepare(
        self,
        *,
        download_dir: str | os.PathLike | None = None,
        download_config: tfds.download.DownloadConfig | None = None,
        **kwargs: Any,
    ) -> None:
        """Builds the data set unless it exists; see ``tfds.core.DatasetBuilder.download_and_prepare``.

        If it exists and a raw data set is given, the two are compared.

        Raises:
          UserError: No raw data set, invalid annotations, too little disk space, too many rejected clips, existing data
            that is out of date, or an option of TFDS that this builder does not have. A failed build leaves no data
            set behind.
        """
        download_config = download_config or tfds.download.DownloadConfig()
        _check_options(download_config)
        self._max_examples = download_config.max_examples_per_split
        overwrite = download_config.download_mode.overwrite_dataset
        options = {"download_dir": download_dir, "download_config": download_config, **kwargs}
        final_path = epath.Path(self.data_path)
        given, root = self._raw_dataset_folders(download_dir, download_config)
        if not overwrite and self._is_up_to_date(given):
            super().download_and_prepare(**options)
            if self.info.metadata["num_rejected"]:
                print(self.summary())
            return
        if root:
            self._check_raw_dataset(root)
        if _uses_beam(download_config):
            beam_build.check_beam()
        check_free_disk(final_path, 0)
        with contextlib.ExitStack() as stack:
            stack.enter_context(disk_faults_are_user_errors(final_path))
            stack.enter_context(build_lock(final_path))
            if final_path.exists():  # it did before, or the process that held the lock has built it
                self.info.read_from_directory(final_path)
                if not overwrite and self._is_up_to_date(given):
                    return
                final_path.rmtree()
            if root is None:
                root = stack.enter_context(scratch_folder(final_path))
                render(root, self.builder_config.synthetic, self._num_workers, progress=sys.stderr.isatty())
            self._root = os.fspath(root)
            super().download_and_prepare(**options)
        print(self.summary())

    def _raw_dataset_folders(
        self, download_dir: str | os.PathLike | None, download_config: tfds.download.DownloadConfig
    ) -> tuple[epath.Path | None, epath.Path | None]:
        """The raw data set that the user names, and the one to build from: by default TFDS's own; None if rendered."""
        if self.builder_config.synthetic:
            return None, None
        if download_config.manual_dir:
            return epath.Path(download_config.manual_dir), epath.Path(download_config.manual_dir)
        return None, epath.Path(download_dir or epath.Path(self._data_dir_root) / "downloads") / "manual"

    def summary(self) -> str:
        """One line with the number of clips in each split of the prepared data and of rejected ones."""
        counts = ", ".join(f"{name} {split.num_examples}" for name, split in self.info.splits.items())
        rejected = f"rejected {self.info.metadata['num_rejected']} of {self.info.metadata['num_clips']}"
        return f"{self.info.full_name}: {counts} clips; {rejected}, see {self.data_path / REJECTED}"

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Runs while ``self.data_path`` is TFDS's temporary folder, which is renamed if the build succeeds."""
        config = self.builder_config
        annotated, manifest = read_raw_dataset(self._root, config.clip)
        chosen = choose_clips(annotated, self._max_examples)
        clips = [clip for of_split in chosen.values() for clip in of_split]
        num_regions = len(manifest.regions)
        clip_bytes = estimate_clip_bytes(self._root, clips, config.clip)
        check_free_disk(epath.Path(self._data_dir_root), len(clips) * clip_bytes)
        log = BuildLog(len(clips), self._max_rejected_fraction)
        shards = self._shards(chosen, clip_bytes)
        in_order = [shard for of_split in shards.values() for shard in of_split]
        if _uses_beam(download_config):
            options, runner = download_config.beam_options, download_config.beam_runner
            beam_build.write_shards(self._root, in_order, num_regions, config.clip, options, runner, log)
        else:
            with (
                WorkerPool(self._num_workers) as pool,
                tqdm.tqdm(total=len(clips), desc=self.info.full_name, unit="clip", disable=None) as progress,
            ):
                build.write_shards(self._root, in_order, num_regions, config.clip, pool, log, progress.update)
        log.check_not_empty()
        self._set_splits(shards, log)
        log.write(epath.Path(self.data_path), with_sources=config.synthetic is None)
        self.info.metadata.update(
            manifest_values(manifest),
            made_of=config.made_of(),
            max_examples_per_split=self._max_examples,
            num_clips=len(clips),
            num_rejected=len(log.rejected),
        )

    def _shards(self, chosen: dict[str, list[Clip]], clip_bytes: int) -> dict[str, list[Shard]]:
        """{split: its files}."""
        file_format = self.info.file_format.value
        shards = {}
        for split, of_split in assign_clips(chosen, clip_bytes).items():
            paths = self._get_filename_template(split_name=split).sharded_filepaths(len(of_split))
            pairs = zip(paths, of_split, strict=True)
            shards[split] = [Shard(os.fspath(path), file_format, of_shard) for path, of_shard in pairs]
        return shards

    def _set_splits(self, shards: dict[str, list[Shard]], log: BuildLog) -> None:
        """Passes on to TFDS what was written."""
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
        """A tf.data.Dataset; TFDS offers none for ArrayRecord files, so they are read by random access."""
        if self.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
            return super()._as_dataset(split, decoders, read_config, shuffle_files)
        from tfds_musclemap.build.tf_dataset import array_record_dataset  # TensorFlow comes with an extra

        return array_record_dataset(self.info, split, decoders, read_config, shuffle_files)

    def _check_raw_dataset(self, root: epath.Path) -> None:
        """Raises UserError if there is no raw data set or it is invalid."""
        if not has_files(root):
            folders = epath.Path(self.data_path).parent.glob("[0-9]*")
            earlier = sorted(folder.name for folder in folders if folder.name != str(self.version))
            found = f" ({', '.join(earlier)} was made by an earlier version of this project)" if earlier else ""
            raise UserError(
                f"{self.data_path}: no prepared data{found}, and no raw data set to build it from in {root}: get "
                f"MuscleMap from its authors under their licence (user agreement, {HOMEPAGE}) and run `tfds build "
                f"tfds_musclemap/musclemap --config={self.builder_config.name} --manual_dir=FOLDER "
                f"--data_dir={self._data_dir_root}`; or, without it, train on rendered data with "
                f"--config=configs/transm3e.py:synthetic"
            )
        read_raw_dataset(root, self.builder_config.clip)

    def _is_up_to_date(self, root: epath.Path | None) -> bool:
        """Whether the data exists and nothing has changed since it was made; the raw data set is compared if it exists.

        Raises UserError if something has changed, unless such data is to be built again.
        """
        data_path = epath.Path(self.data_path)
        if not data_path.exists():
            return False
        metadata = dict(self.info.metadata.items())
        changes = find_changes(data_path, metadata, self.builder_config, root, self._max_examples)
        if changes and not self._rebuild:
            raise UserError(f"{data_path}: the prepared data is out of date: {'; '.join(changes)}: {_REBUILD}")
        if changes:
            print(f"{data_path}: building it again: {'; '.join(changes)}", file=sys.stderr)
        return not changes

    def _log_download_bytes(self) -> None:
        """TFDS announces a download in bold letters, but there is none."""

    def _log_download_done(self) -> None:
        """``summary`` is the last line."""


def _uses_beam(download_config: tfds.download.DownloadConfig) -> bool:
    return bool(download_config.beam_runner or download_config.beam_options)


def _check_options(download_config: tfds.download.DownloadConfig) -> None:
    default = tfds.download.DownloadConfig()
    for name in _UNSUPPORTED:
        if getattr(download_config, name) != getattr(default, name):
            raise UserError(f"{name}: this builder chooses the shards itself: leave the option out")
    if download_config.max_examples_per_split is not None and download_config.max_examples_per_split < 1:
        raise UserError(f"max_examples_per_split: expected at least 1, got {download_config.max_examples_per_split}")
