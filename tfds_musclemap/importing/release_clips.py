"""Which clips a release of MuscleMap holds: its lists found, its paths turned into clip ids, its activities named.

Source: the released code's loaders (github.com/KPeng9510/MuscleMap): for each split a pickled list of paths, such as
``/home/someone/musclemap_trimmed/..._AN_pushup_ST_....mp4``, and one of muscle indices; the activity is what stands
between ``AN_`` and ``_ST``, the videos lie in ``musclemap_rescale`` in the place of ``musclemap_trimmed``. That code
takes a random other clip for one that is not there; here an absent one is an error, or left out by name.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from musclemap_jax.data.raw.raw_dataset import Clip, parse_clip_id
from musclemap_jax.errors import UserError
from tfds_musclemap.importing.release_lists import read_labels, read_paths

SPLITS = {
    "train": "train",
    "val_seen": "val_known",
    "val_unseen": "val_new",
    "test_seen": "test_known",
    "test_unseen": "test_new",
}
"""The authors' names of the splits, and ours."""

VIDEO_FOLDERS = ("musclemap_rescale", "musclemap_trimmed")
"""Names that the folder of videos has in the authors' paths."""

FLOW_FOLDERS = ("musclemap_opticalflow_video_x", "musclemap_opticalflow_video_y")
"""Folders of optical flow beside that of the videos, with the same paths below them."""

TABLE_COLUMNS = ("clip_id", "activity")

_LIST_NAME = re.compile(rf"({'|'.join(SPLITS)})_.*\.(?:pkl|pickle|p)")
_ACTIVITY = re.compile(r".*AN_([^/]+?)_ST", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class SplitLists:
    """The two lists of a split.

    Attributes:
      split: our name of it.
      videos: pickled list of paths.
      labels: pickled list of muscle indices, one list for each path.
    """

    split: str
    videos: Path
    labels: Path


@dataclasses.dataclass(frozen=True)
class ReleasedClip:
    """A clip of a release.

    Attributes:
      clip: its annotations.
      source: path of its video below the folder of videos; may be absent.
      place: where the lists name it, for errors: ``train_x.pkl, item 3``.
    """

    clip: Clip
    source: Path
    place: str


def our_split(name: str) -> str:
    """Our name of a split that is given by the authors' name or by ours.

    Raises:
      UserError: neither.
    """
    if name not in SPLITS and name not in SPLITS.values():
        raise UserError(
            f"split: expected one of {', '.join(SPLITS)} (or our {', '.join(SPLITS.values())}), got {name!r}"
        )
    return SPLITS.get(name, name)


def find_lists(release: str | Path) -> list[SplitLists]:
    """The lists of a release by their names: ``<split>_*.pkl`` without and with ``label`` in the name.

    Args:
      release: folder that holds them, in sub-folders too.

    Returns:
      The splits that are there, in the order of SPLITS.

    Raises:
      UserError: none at all, one list of a split without the other, or more than one choice.
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
                    f"give the right ones by --videos, --labels and --split"
                )
            chosen += paths
        if len(chosen) == 1:
            raise UserError(
                f"{chosen[0]}: expected a list of {name}'s paths and one of its labels, found this one only"
            )
        if chosen:
            lists.append(SplitLists(split, *chosen))
    return lists


def read_clips(
    lists: Sequence[SplitLists], video_root: str | Path, activities: Mapping[str, str] | None = None
) -> list[ReleasedClip]:
    """Reads lists into clips. Whether the videos are there is left to ``is_present``.

    Args:
      lists: of the splits.
      video_root: the folder of the videos. What a path names before the folder (``musclemap_trimmed``,
        ``musclemap_rescale`` or this folder's own name) is dropped; a path without it is taken from the folder on.
      activities: for the paths that do not name theirs: activity of a clip id, or of the last part of one.

    Raises:
      UserError: lists of different length, a path that leaves the folder, a clip twice, a clip without an activity; one
        line that names the list and the item.
    """
    video_root = Path(video_root)
    clips, first_place = [], {}
    for pair in lists:
        paths, labels = read_paths(pair.videos), read_labels(pair.labels)
        if len(paths) != len(labels):
            raise UserError(
                f"{pair.labels}: expected {len(paths)} lists, one a path of {pair.videos}, got {len(labels)}"
            )
        for number, (path, muscles) in enumerate(zip(paths, labels, strict=True)):
            place = f"{pair.videos}, item {number}"
            inside = _path_inside(place, path, video_root)
            clip_id = parse_clip_id(place, str(inside.with_suffix("")))
            if clip_id in first_place:
                raise UserError(
                    f"{place}: expected each clip once, got {clip_id!r} which {first_place[clip_id]} has too: "
                    f"remove it from one of the lists"
                )
            first_place[clip_id] = place
            activity = _activity(place, str(inside), clip_id, activities or {})
            clips.append(ReleasedClip(Clip(clip_id, pair.split, activity, muscles), inside, place))
    return clips


def is_present(clip: ReleasedClip, folder: str | Path) -> bool:
    """Whether the clip's file is in a folder of videos, or of optical flow.

    Raises:
      UserError: it is something else than a file, or a link that leaves the folder.
    """
    path = Path(folder) / clip.source
    try:
        target = path.resolve(strict=True)
        kind = target.stat().st_mode
    except FileNotFoundError:
        return False
    except (OSError, RuntimeError) as error:
        raise UserError(f"{clip.place}: {path} cannot be opened: {error}") from error
    if not target.is_relative_to(Path(folder).resolve()):
        raise UserError(
            f"{clip.place}: {path} is a link to {target}, out of {folder}: give the folder where the files are as "
            f"--video_root"
        )
    if not stat.S_ISREG(kind):
        raise UserError(f"{clip.place}: expected a video file, got {path} which is none")
    return True


def read_activities(path: str | Path) -> dict[str, str]:
    """Reads a table of activities: csv with the columns clip_id and activity, further ones ignored.

    Raises:
      UserError: the file cannot be read or is no such table; a clip with two activities.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = list(reader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected comma-separated values in UTF-8: {error}") from error
    if not set(TABLE_COLUMNS) <= set(reader.fieldnames or ()):
        raise UserError(f"{path}, line 1: expected the columns {','.join(TABLE_COLUMNS)}, got none of that name")
    activities: dict[str, str] = {}
    for number, row in enumerate(rows):
        clip_id, activity = (row.get(name) for name in TABLE_COLUMNS)
        if not clip_id or not activity:
            raise UserError(f"{path}, row {number + 1}: expected {' and '.join(TABLE_COLUMNS)}, got one without")
        if activities.setdefault(clip_id.strip(), activity.strip()) != activity.strip():
            raise UserError(f"{path}, row {number + 1}: expected one activity of {clip_id!r}, got a second one")
    return activities


def _path_inside(place: str, path: str, video_root: Path) -> Path:
    """The part of a path below the folder of videos."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    names = {*VIDEO_FOLDERS, video_root.resolve().name}
    known = [index for index, part in enumerate(parts[:-1]) if part in names]
    if known:
        parts = parts[known[-1] + 1 :]
    elif path.startswith("/") or re.match(r"[A-Za-z]:", path):
        raise UserError(
            f"{place}: expected a path with the folder {' or '.join(sorted(names))} in it, got {path[:200]!r}, which "
            f"leaves {video_root}: give the folder that it names as --video_root"
        )
    if ".." in parts or not parts or "\x00" in path:
        raise UserError(f"{place}: expected a path inside {video_root}, got {path[:200]!r}, which leaves it")
    return Path(*parts)


def _activity(place: str, inside: str, clip_id: str, activities: Mapping[str, str]) -> str:
    match = _ACTIVITY.match(inside)
    name = match[1].strip() if match else activities.get(clip_id) or activities.get(clip_id.rpartition("/")[2])
    if not name:
        raise UserError(
            f"{place}: expected the activity between 'AN_' and '_ST' of the path or in the table --activities (csv, "
            f"columns {','.join(TABLE_COLUMNS)}), found it in neither for {clip_id!r}"
        )
    return name
