"""Writes a release of MuscleMap in the authors' layout: pickled lists next to a folder of videos.

    <folder>/<split>_muscle_map.pkl, <split>_muscle_map_label.pkl    split: train, val_seen, val_unseen, ...
    <folder>/musclemap_rescale/<name>_AN_<activity>_ST_<start>_ET_<end>.mp4

The paths in the lists are those of the authors' machine, as in the released files.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musclemap_jax.data.raw import video

AUTHORS_FOLDER = "/home/someone/data/musclemap_trimmed"
SPLITS = ("train", "val_seen", "val_unseen", "test_seen", "test_unseen")


class Video(NamedTuple):
    """A video of the release.

    Attributes:
      split: The authors' name of its split.
      path: Its path relative to the folder of videos.
      activity: Its activity; None if the path does not contain it.
      muscles: Its muscle indices.
    """

    split: str
    path: str
    activity: str | None
    muscles: tuple[int, ...]


def default_videos(clips_per_split: int = 2) -> list[Video]:
    """Two seen and two unseen activities, each with its own muscles; one video in a sub-folder."""
    videos = []
    for split in SPLITS:
        for index in range(clips_per_split):
            number = len(videos)
            is_unseen = "unseen" in split
            activity = f"{'unseen' if is_unseen else 'seen'}_{index % 2}"
            muscles = (1 + index % 2, 5 + 7 * is_unseen, 19)
            folder = "more/" if number == 1 else ""
            path = f"{folder}{number:03d}_AN_{activity}_ST_{10 * number}_ET_{10 * number + 9}.mp4"
            videos.append(Video(split, path, activity, muscles))
    return videos


def write_release(
    folder: Path,
    videos: Sequence[Video],
    frames: Callable[[int], np.ndarray] | None = None,
    fps: float = 12.0,
    protocol: int = pickle.DEFAULT_PROTOCOL,
    labels: Callable[[tuple[int, ...]], object] = list,
) -> Path:
    """Writes the release.

    Args:
      folder: The folder to write; created if absent.
      videos: The videos.
      frames: A video's number -> its (T, H, W, 3) frames; None writes files that are not videos.
      fps: Frames per second.
      protocol: Protocol of the pickles.
      labels: The type as which a clip's muscle indices are pickled.

    Returns:
      The folder.
    """
    for number, item in enumerate(videos):
        path = folder / "musclemap_rescale" / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if frames is None:
            path.write_bytes(b"video %d" % number)
        else:
            video.encode_video(path, frames(number), fps, crf=10)
    for split in SPLITS:
        chosen = [item for item in videos if item.split == split]
        if chosen:
            write_lists(
                folder,
                split,
                [f"{AUTHORS_FOLDER}/{item.path}" for item in chosen],
                [labels(item.muscles) for item in chosen],
                protocol,
            )
    return folder


def write_lists(
    folder: Path, split: str, paths: object, labels: object, protocol: int = pickle.DEFAULT_PROTOCOL
) -> tuple[Path, Path]:
    """Pickles the two lists of a split; returns their files."""
    files = folder / f"{split}_muscle_map.pkl", folder / f"{split}_muscle_map_label.pkl"
    for file, content in zip(files, (paths, labels), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(content, protocol))
    return files
