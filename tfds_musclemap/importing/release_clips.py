"""The clips of a release of MuscleMap: finds its lists, turns their paths into clip ids and names the activities.

Source: the released code's loaders (github.com/KPeng9510/MuscleMap): each split has a pickled list of paths, such as
``/home/someone/musclemap_trimmed/..._AN_pushup_ST_....mp4``, and one of muscle indices. The activity stands between
``AN_`` and ``_ST``; the videos are in ``musclemap_rescale`` instead of ``musclemap_trimmed``. That code replaces an
absent video by a random other clip; here it is an error, or the clip is left out and reported.
"""

from __future__ import annotations

import dataclasses
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from musclemap_jax.data.raw.raw_dataset import Clip, parse_clip_id
from musclemap_jax.errors import UserError
from musclemap_jax.storage.tables import read_table
from tfds_musclemap.importing.release_lists import read_labels, read_paths

MUSCLEMAP = "MuscleMap"
"""Default name of an imported data set in its manifest; the verification then expects the paper's totals."""

SPLITS = {
    "train": "train",
    "val_seen": "val_known",
    "val_unseen": "val_new",
    "test_seen": "test_known",
    "test_unseen": "test_new",
}
"""The authors' name of each split -> ours."""

VIDEO_FOLDERS = ("musclemap_rescale", "musclemap_trimmed")
"""Names of the folder of videos in the authors' paths."""

FLOW_FOLDERS = ("musclemap_opticalflow_video_x", "musclemap_opticalflow_video_y")
"""Folders of optical flow next to the folder of videos, with the same paths below them."""

TABLE_COLUMNS = ("clip_id", "activity")

_LIST_NAME = re.compile(rf"({'|'.join(SPLITS)})_.*\.(?:pkl|pickle|p)")
_ACTIVITY = re.compile(r".*(?<![A-Za-z])AN_([^/]+?)_ST(?![A-Za-z])", re.DOTALL)
"""The markers are words of their own: `_AN_RUSSIAN_TWIST_ST_0` is a Russian twist, `_AN_STEP_UP_ST_0` a step-up."""


@dataclasses.dataclass(frozen=True)
class SplitLists:
    """The pickled lists of a split, by our name: videos' paths, and for each path a list of muscle indices."""

    split: str
    videos: Path
    labels: Path


@dataclasses.dataclass(frozen=True)
class ReleasedClip:
    """A clip of a release.

    Attributes:
      clip: The clip's annotations.
      source: The video's path relative to the folder of videos; the file may be absent.
      location: Where the lists name the clip, for errors: ``train_x.pkl, item 3``.
    """

    clip: Clip
    source: Path
    location: str


def our_split(name: str) -> str:
    """Our name of a split that is given by the authors' name or by ours. Raises UserError if it is neither."""
    if name not in SPLITS and name not in SPLITS.values():
        raise UserError(
            f"split: expected one of {', '.join(SPLITS)} (or our {', '.join(SPLITS.values())}), got {name!r}"
        )
    return SPLITS.get(name, name)


def find_lists(release: str | Path) -> list[SplitLists]:
    """Finds the lists in a folder and its sub-folders by their names: ``<split>_*.pkl``, without or with ``label``.

    Returns the splits that were found, in the order of SPLITS.

    Raises:
      UserError: No list at all, one list of a split without the other, or several candidates.
    """
    release = Path(release)
    found: dict[tuple[str, bool], list[Path]] = {}
    for path in sorted(release.rglob("*")):
        match = _LIST_NAME.fullmatch(path.name)
        if match and path.is_file():
            found.setdefault((match[1], "label" in path.name.lower()), []).append(path)
    if not found:
        raise UserError(f"{release}: expected pickled lists such as train_videos.pkl and train_labels.pkl, found none")
    lists = []
    for name, split in SPLITS.items():
        chosen = []
        for is_labels, kind in ((False, "paths"), (True, "labels")):
            paths = found.get((name, is_labels), [])
            if len(paths) > 1:
                raise UserError(
                    f"{release}: expected one list of {name}'s {kind}, found {', '.join(path.name for path in paths)}: "
                    f"choose by --videos, --labels and --split"
                )
            chosen += paths
        if len(chosen) == 1:
            raise UserError(
                f"{chosen[0]}: expected a list of {name}'s paths and one of its labels, found only this one"
            )
        if chosen:
            lists.append(SplitLists(split, *chosen))
    return lists


def default_video_root(folder: str | Path) -> Path:
    """The folder of videos in a release: ``musclemap_rescale``, ``musclemap_trimmed``, or the release itself."""
    folders = [Path(folder) / name for name in VIDEO_FOLDERS]
    return next((path for path in folders if path.is_dir()), Path(folder))


def read_clips(
    lists: Sequence[SplitLists], video_root: str | Path, activities: Mapping[str, str] | None = None
) -> list[ReleasedClip]:
    """Reads lists into clips. ``is_present`` tells whether a clip's video exists.

    Args:
      lists: The lists of each split.
      video_root: The folder of the videos. A path's parts up to and including this folder (its own name,
        ``musclemap_trimmed`` or ``musclemap_rescale``) are dropped; a path without it is relative to the folder.
      activities: Clip id, or its last part -> activity, for the clips whose paths do not contain theirs.

    Raises:
      UserError: Lists of different length, a path that leaves the folder, a repeated clip, or a clip without an
        activity; one line that names the list and the item.
    """
    video_root = Path(video_root)
    clips, first_location = [], {}
    for pair in lists:
        paths, labels = read_paths(pair.videos), read_labels(pair.labels)
        if len(paths) != len(labels):
            raise UserError(
                f"{pair.labels}: expected {len(paths)} lists, one for each path in {pair.videos}, got {len(labels)}"
            )
        for number, (path, muscles) in enumerate(zip(paths, labels, strict=True)):
            location = f"{pair.videos}, item {number}"
            inside = _path_inside(location, path, video_root)
            clip_id = parse_clip_id(location, str(inside.with_suffix("")))
            if clip_id in first_location:
                raise UserError(
                    f"{location}: expected each clip once, got {clip_id!r}, which is also {first_location[clip_id]}: "
                    f"remove it from one of the lists"
                )
            first_location[clip_id] = location
            activity = _activity(location, str(inside), clip_id, activities or {})
            clips.append(ReleasedClip(Clip(clip_id, pair.split, activity, muscles), inside, location))
    return clips


def is_present(clip: ReleasedClip, folder: str | Path) -> bool:
    """Whether a folder of videos, or of optical flow, contains the clip's file.

    Raises UserError if the path is not a file, or is a link that leaves the folder.
    """
    path = Path(folder) / clip.source
    try:
        target = path.resolve(strict=True)
        kind = target.stat().st_mode
    except FileNotFoundError:
        return False
    except (OSError, RuntimeError) as error:
        raise UserError(f"{clip.location}: {path} cannot be opened: {error}") from error
    if not target.is_relative_to(Path(folder).resolve()):
        raise UserError(
            f"{clip.location}: {path} is a link to {target}, outside {folder}: set --video_root to the folder that "
            f"contains the files"
        )
    if not stat.S_ISREG(kind):
        raise UserError(f"{clip.location}: expected a video file, got {path}, which is not a regular file")
    return True


def read_activities(path: str | Path) -> dict[str, str]:
    """Reads a table of activities: CSV with the columns clip_id and activity; further columns are ignored.

    Raises UserError if the file cannot be read or is not such a table, or a clip has two activities.
    """
    path = Path(path)
    try:
        rows = read_table(path, TABLE_COLUMNS)
    except FileNotFoundError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    activities: dict[str, str] = {}
    for row in rows:
        clip_id, activity = (row.values[name] for name in TABLE_COLUMNS)
        if not clip_id or not activity:
            raise UserError(f"{row.place}: expected {' and '.join(TABLE_COLUMNS)}, got an empty value")
        if activities.setdefault(clip_id, activity) != activity:
            raise UserError(f"{row.place}: expected one activity for {clip_id!r}, got a second one")
    return activities


def _path_inside(location: str, path: str, video_root: Path) -> Path:
    """The part of a path below the folder of videos."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    names = {*VIDEO_FOLDERS, video_root.resolve().name}
    known = [index for index, part in enumerate(parts[:-1]) if part in names]
    if known:
        parts = parts[known[-1] + 1 :]
    elif path.startswith("/") or re.match(r"[A-Za-z]:", path):
        raise UserError(
            f"{location}: expected a path that contains the folder {' or '.join(sorted(names))}, got {path[:200]!r}, "
            f"which leaves {video_root}: set --video_root to a folder that it contains"
        )
    if ".." in parts or not parts or "\x00" in path:
        raise UserError(f"{location}: expected a path inside {video_root}, got {path[:200]!r}, which leaves it")
    return Path(*parts)


def _activity(location: str, inside: str, clip_id: str, activities: Mapping[str, str]) -> str:
    match = _ACTIVITY.match(inside)
    name = match[1].strip() if match else activities.get(clip_id) or activities.get(clip_id.rpartition("/")[2])
    if not name:
        raise UserError(
            f"{location}: expected the activity between 'AN_' and '_ST' in the path or in the table --activities (CSV, "
            f"columns {','.join(TABLE_COLUMNS)}), found it in neither for {clip_id!r}"
        )
    return name
