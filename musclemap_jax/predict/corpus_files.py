"""A corpus of videos and its results: which files there are, which are done, and the merge of all.

    OUT/corpus.json                     the settings, which every later run has to repeat
    OUT/results/<video>-<digest>.json   as muscles.json, one per video, written in one step
    OUT/failed/<shard>.csv              video,reason: the videos of a shard that failed in its last run
    OUT/muscles.csv, failed.csv         all results, all failures

All paths may be on cloud storage. A video with a result is done; every other one is predicted by the next run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.predict.names import digest, folder_name, shown
from musclemap_jax.predict.outputs import MUSCLES_CSV, csv_header, csv_rows, read_muscles
from musclemap_jax.predict.skeleton_file import skeletons_beside
from musclemap_jax.predict.unfinished import remove_abandoned, unfinished
from musclemap_jax.predict.video_files import VIDEO_SUFFIXES, videos_below
from musclemap_jax.storage.csv_files import read_csv, write_csv, write_rows
from musclemap_jax.storage.files import is_remote
from tfds_musclemap.build.remote import written_locally

SETTINGS = "corpus.json"
RESULTS = "results"
FAILED = "failed"
FAILED_COLUMNS = ("video", "reason")

_NOT_TRIED = "not predicted yet"


@dataclasses.dataclass(frozen=True)
class CorpusVideo:
    """A video of a corpus.

    Attributes:
      name: Its name in the corpus: the path below the folder, or the line of the list.
      path: Where it is.
    """

    name: str
    path: str

    @property
    def key(self) -> str:
        """Name of its result, without extension."""
        return f"{folder_name(self.name)}-{digest(self.name, 16)}"


@dataclasses.dataclass(frozen=True)
class Shard:
    """A part of a corpus: every `count`-th video from number `index` on."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index:05d}-of-{self.count:05d}"

    def of(self, videos: Sequence[CorpusVideo]) -> Sequence[CorpusVideo]:
        """The shard's videos; those of all shards together are all videos, each once."""
        return videos[self.index :: self.count]


class Corpus:
    """The videos of a corpus and the folder of its results.

    Attributes:
      videos: The videos, each once, in the order of their names' bytes.
      out: The folder of the results.
    """

    def __init__(self, source: str, out: str, settings: Mapping[str, Any]) -> None:
        """Lists the videos and compares the settings with those of earlier results.

        Args:
          source: A folder, whose subfolders are searched too, or a text file with a path per line, absolute or relative
            to the file's folder.
          out: The folder of the results, made if absent.
          settings: What the results depend on.

        Raises:
          UserError: No such source, no videos in it, or results of other settings.
        """
        found = {video.name: video for video in _videos(source)}
        if not found:
            raise UserError(f"{shown(source)}: expected videos, found none")
        self.videos = [found[name] for name in sorted(found, key=os.fsencode)]
        self.out = epath.Path(out)
        if not is_remote(out):
            remove_abandoned(Path(out))
        self._settings = settings
        self._check_settings()
        for folder in (RESULTS, FAILED):
            (self.out / folder).mkdir(parents=True, exist_ok=True)

    def record_settings(self) -> None:
        """Records the settings in a new folder of results; call it before the first result is written.

        Raises:
          UserError: The folder holds results of other settings.
        """
        path = self.out / SETTINGS
        if not path.exists():
            with _written_in_one_step(path) as file:
                file.write(json.dumps(dict(self._settings), indent=1) + "\n")
        self._check_settings()

    def _check_settings(self) -> None:
        path = self.out / SETTINGS
        if not path.exists():
            return
        found, given = json.loads(path.read_text()), self._settings
        for name in {**given, **found}:
            if given.get(name) != found.get(name):
                raise UserError(
                    f"{self.out}: holds results of {name} {found.get(name)!r}, got {given.get(name)!r}: choose another "
                    "--out"
                )

    def result_path(self, video: CorpusVideo) -> epath.Path:
        """Path of a video's result."""
        return self.out / RESULTS / f"{video.key}.json"

    def missing(self, videos: Sequence[CorpusVideo]) -> list[CorpusVideo]:
        """Those of the videos that have no result."""
        done = {path.name for path in (self.out / RESULTS).iterdir()}
        return [video for video in videos if self.result_path(video).name not in done]

    def merge(self) -> dict[str, str]:
        """Writes `muscles.csv` of all results and `failed.csv` of the videos without one.

        Returns:
          Shown name of each video without a result -> reason.

        Raises:
          UserError: A result cannot be read, or has other regions.
        """
        missing = self.missing(self.videos)
        without_result = set(missing)
        done = [video for video in self.videos if video not in without_result]
        with _written_in_one_step(self.out / MUSCLES_CSV) as file:
            regions = None
            for video in done:
                predictions = read_muscles(self.result_path(video))
                if regions is None:
                    regions = predictions[0].regions
                    write_rows(file, [csv_header(regions)])
                if predictions[0].regions != regions:
                    raise UserError(f"{self.result_path(video)}: has other regions than the other results: delete it")
                write_rows(file, csv_rows(predictions, video.name))
        reasons = self._failed()
        failed = {shown(video.name): reasons.get(shown(video.name), _NOT_TRIED) for video in missing}
        write_csv(self.out / f"{FAILED}.csv", FAILED_COLUMNS, list(failed.items()))
        return failed

    def _failed(self) -> dict[str, str]:
        """Shown name of each video that failed -> reason, of all shards' last runs."""
        reasons = {}
        for path in (self.out / FAILED).iterdir():
            if path.suffix == ".csv":
                reasons |= {row["video"]: row["reason"] for row in read_csv(path.read_text())}
        return reasons


def write_failed(out: str | os.PathLike, shard: str, failed: Mapping[str, str]) -> None:
    """Records the failures of a shard in place of those of its last run.

    Args:
      out: The folder of the corpus's results.
      shard: Name of the shard.
      failed: Name of the video -> reason.
    """
    path = epath.Path(out) / FAILED / f"{shard}.csv"
    if failed:
        write_csv(path, FAILED_COLUMNS, sorted((shown(name), reason) for name, reason in failed.items()))
    elif path.exists():
        path.unlink()


def has_skeleton(video: CorpusVideo) -> bool:
    """Whether a pose estimator's results lie beside the video; on cloud storage, as `<video>.json`."""
    if is_remote(video.path):
        return epath.Path(video.path).with_suffix(".json").exists()
    return bool(skeletons_beside(Path(video.path)))


@contextlib.contextmanager
def local_video(video: CorpusVideo) -> Generator[Path]:
    """A local path of a video; one on cloud storage is copied for the time of the block, with `<video>.json`."""
    if not is_remote(video.path):
        yield Path(video.path)
        return
    source = epath.Path(video.path)
    with tempfile.TemporaryDirectory() as folder:
        skeleton = source.with_suffix(".json")
        try:
            for path in (source, skeleton) if skeleton.exists() else (source,):
                path.copy(Path(folder) / path.name)
        except OSError as error:
            raise UserError(f"{video.path}: cannot be copied: {error}") from error
        yield Path(folder) / source.name


def _videos(source: str) -> Iterator[CorpusVideo]:
    if is_remote(source) and epath.Path(source).is_dir():
        for path in _remote_videos_below(epath.Path(source)):
            yield CorpusVideo(os.fspath(path).removeprefix(source.rstrip("/") + "/"), os.fspath(path))
    elif os.path.isdir(source):
        for path in videos_below(Path(source)):
            yield CorpusVideo(path.relative_to(source).as_posix(), os.fspath(path))
    else:
        yield from _listed_videos(source)


def _remote_videos_below(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield path
        elif path.is_dir():
            yield from _remote_videos_below(path)


def _listed_videos(source: str) -> Iterator[CorpusVideo]:
    try:
        content = epath.Path(source).read_bytes()
    except OSError as error:
        raise UserError(f"{shown(source)}: expected a folder of videos or a list of them: {error}") from error
    if b"\0" in content:
        raise UserError(f"{shown(source)}: expected a text file with a path per line, got a binary file")
    for line in content.splitlines():
        name = os.fsdecode(line.strip())
        if name:
            yield CorpusVideo(name, name if is_remote(name) else os.path.join(os.path.dirname(source), name))


@contextlib.contextmanager
def _written_in_one_step(path: epath.Path) -> Generator[TextIO]:
    """A text file that appears at the end of the block, if that succeeds; processes may write it at the same time."""
    with written_locally(path) as target, unfinished(Path(target), Path.touch) as new:
        try:
            with new.open("w") as file:
                yield file
            new.replace(target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
