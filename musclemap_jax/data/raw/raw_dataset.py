"""The raw data set: the folder that the TFDS builder reads and the synthetic renderer writes.

    annotations.csv             clip_id,split,activity,muscles
    clips/<clip_id>.mp4         or another suffix of VIDEO_SUFFIXES, if only one file has that name
    skeletons/<clip_id>.json    AlphaPose results
    raw_dataset.json            optional: name, muscle regions, layout of the skeletons and more (manifest.py)

Only the annotations are checked here, since an error in them makes the whole raw data set invalid. A clip whose video
or skeleton cannot be read is left to the builder.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from musclemap_jax import taxonomy
from musclemap_jax.data.raw.manifest import MANIFEST, LinkError, Manifest, check_file, read_manifest
from musclemap_jax.errors import UserError
from musclemap_jax.storage.csv_files import write_csv
from musclemap_jax.storage.tables import read_table

ANNOTATIONS = "annotations.csv"
CLIPS = "clips"
SKELETONS = "skeletons"
COLUMNS: tuple[str, ...] = ("clip_id", "split", "activity", "muscles")
SEPARATOR = ";"
"""Joins the muscle indices of one clip."""

VIDEO_SUFFIXES = (".mp4", ".MP4", ".mov", ".MOV", ".m4v", ".M4V", ".mkv", ".MKV", ".webm", ".WEBM", ".avi", ".AVI")
"""Suffixes that a clip's video may have. The first one is the expected one; of a suffix in lower and upper case, the
lower one counts, since both may name one file."""

_INDEX = re.compile(r"[0-9]{1,9}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

_MAX_PART_BYTES = 200
"""Longest name of a folder or file in a clip id; file systems take 255, with what is put before and behind it."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """One row of the annotations.

    Attributes:
      clip_id: Unique in the raw data set; names the clip's files. '/' separates sub-folders, if any.
      split: One of ``taxonomy.SPLITS``.
      activity: Name of the exercise.
      muscles: Indices into the raw data set's regions, ascending; empty for background.
    """

    clip_id: str
    split: str
    activity: str
    muscles: tuple[int, ...]


def video_path(root: str | Path, clip_id: str) -> Path:
    """Expected path of a clip's video under the raw data set's folder."""
    return Path(root) / CLIPS / f"{clip_id}{VIDEO_SUFFIXES[0]}"


def find_videos(root: str | Path, clip_id: str, exists: Callable[[str], object] = os.path.lexists) -> list[Path]:
    """Paths of a clip's video: the expected one if it exists, or else those of that name with another suffix.

    More than one cannot be told apart. A link exists, wherever it leads.
    """
    expected = video_path(root, clip_id)
    if exists(os.fspath(expected)):
        return [expected]
    others = [expected.with_name(expected.name.removesuffix(VIDEO_SUFFIXES[0]) + suffix) for suffix in VIDEO_SUFFIXES]
    found = {path.suffix.lower(): path for path in reversed(others) if exists(os.fspath(path))}
    return sorted(found.values())


def find_video(root: str | Path, clip_id: str) -> Path:
    """The one path of ``find_videos``; without any, the expected one, which does not exist.

    Raises LinkError, whose message does not name the clip, if there are several.
    """
    found = find_videos(root, clip_id)
    if len(found) > 1:
        raise LinkError(f"no such file, but {' and '.join(path.name for path in found)}: keep one of them")
    return found[0] if found else video_path(root, clip_id)


def skeleton_path(root: str | Path, clip_id: str) -> Path:
    """Path of a clip's AlphaPose results under the raw data set's folder."""
    return Path(root) / SKELETONS / f"{clip_id}.json"


def read_annotations(root: str | Path) -> list[Clip]:
    """Reads the clips of ``annotations.csv``, in its order, and checks them against the regions of the manifest.

    Raises UserError for the first error, with its file, line, column and fix.
    """
    path = Path(root) / ANNOTATIONS
    try:
        if os.path.lexists(path):
            check_file(root, path)
        rows = read_table(path, COLUMNS, advice=f", and join muscle indices by '{SEPARATOR}'")
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: expected the raw data set's annotations, found no such file: pass the folder that holds "
            f"{ANNOTATIONS}, {CLIPS}/ and {SKELETONS}/"
        ) from error
    except LinkError as error:
        raise UserError(f"{path}: {error}") from error
    manifest = read_manifest(root)
    clips = [_parse_row(row.place, row.values, manifest) for row in rows]
    if not clips:
        raise UserError(f"{path}: expected at least one clip below the header, found none: add one row per clip")
    check_clips([row.place for row in rows], clips)
    return clips


def write_annotations(root: str | Path, clips: Sequence[Clip]) -> None:
    """Writes ``annotations.csv`` in the order given, but sorts each clip's muscles; equal clips give equal bytes.

    The folder is created if absent; its manifest, if any, must be there already. Raises UserError if
    ``read_annotations`` would refuse what is to be written.
    """
    path = Path(root) / ANNOTATIONS
    manifest = read_manifest(root)
    places = [f"{path}, line {number}" for number in range(2, len(clips) + 2)]
    rows = [(clip.clip_id, clip.split, clip.activity, SEPARATOR.join(map(str, sorted(clip.muscles)))) for clip in clips]
    for place, row in zip(places, rows, strict=True):
        _parse_row(place, dict(zip(COLUMNS, row, strict=True)), manifest)
    check_clips(places, clips)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, COLUMNS, rows)


def _parse_row(where: str, fields: Mapping[str, str], manifest: Manifest) -> Clip:
    clip_id, split, activity, muscles = (fields[name] for name in COLUMNS)
    if split not in taxonomy.SPLITS:
        raise UserError(
            f"{where}, column split: expected one of {', '.join(taxonomy.SPLITS)}, got {split!r}: correct it"
        )
    if not activity or _UNPRINTABLE.search(activity):
        raise UserError(f"{where}, column activity: expected a name, got {activity!r}: name the clip's exercise")
    return Clip(parse_clip_id(where, clip_id), split, activity, _parse_muscles(where, muscles, manifest))


def parse_clip_id(where: str, clip_id: str) -> str:
    """The clip id if it names a file inside the raw data set's folders; else a UserError beginning with ``where``."""
    parts = PurePosixPath(clip_id).parts
    inside = clip_id and not clip_id.startswith("/") and ".." not in parts and "\\" not in clip_id
    # str(PurePosixPath) drops '.', '//' and a trailing '/': two spellings of one file would be two clips.
    is_normal = str(PurePosixPath(clip_id)) == clip_id == clip_id.strip() and clip_id != "."
    has_suffix = clip_id.lower().endswith(VIDEO_SUFFIXES[0])
    if longest := next((part for part in parts if len(part.encode()) > _MAX_PART_BYTES), None):
        raise UserError(
            f"{where}, column clip_id: expected names of at most {_MAX_PART_BYTES} bytes, got {longest[:20]!r}... of "
            f"{len(longest.encode())}: rename the clip"
        )
    if not inside or not is_normal or has_suffix or _UNPRINTABLE.search(clip_id):
        raise UserError(
            f"{where}, column clip_id: expected a relative path inside {CLIPS}/ without '.mp4', got {clip_id!r}: "
            f"rename the clip"
        )
    return clip_id


def _parse_muscles(where: str, text: str, manifest: Manifest) -> tuple[int, ...]:
    last = len(manifest.regions) - 1
    expected = f"{where}, column muscles: expected indices 0 to {last} joined by '{SEPARATOR}'"
    if not text:
        if manifest.allow_background:
            return ()
        raise UserError(
            f"{expected}, at least one, got none: give the clip's muscle regions, or allow clips without one by "
            f'"allow_background": true in {MANIFEST}'
        )
    indices = []
    for item in text.split(SEPARATOR):
        item = item.strip()
        if not _INDEX.fullmatch(item):
            raise UserError(f"{expected}, got {item!r} in {text!r}: write whole numbers")
        if int(item) > last:
            raise UserError(
                f"{expected}, got {int(item)}: indices count from 0; {MANIFEST} names the regions if they are not "
                f"MuscleMap's {taxonomy.NUM_REGIONS}"
            )
        indices.append(int(item))
    if len(set(indices)) != len(indices):
        raise UserError(f"{expected}, each once, got {text!r}: remove the repeated index")
    return tuple(sorted(indices))


def check_clips(places: Iterable[str], clips: Sequence[Clip]) -> None:
    """Refuses repeated clip ids and activities that are both in a new split and in another one, however spelled.

    The UserError names the places of both clips, each such as ``/path/annotations.csv, line 7``.
    """
    first_place: dict[str, str] = {}
    first_use: dict[tuple[str, bool], tuple[str, Clip]] = {}
    for place, clip in zip(places, clips, strict=True):
        if clip.clip_id in first_place:
            raise UserError(
                f"{place}, column clip_id: expected each clip once, got {clip.clip_id!r}, which is also at "
                f"{_short(first_place[clip.clip_id], place)}: remove or rename one"
            )
        first_place[clip.clip_id] = place
        is_new, activity = clip.split in taxonomy.NEW_SPLITS, taxonomy.activity_key(clip.activity)
        first_use.setdefault((activity, is_new), (place, clip))
        if (activity, not is_new) in first_use:
            other_place, other = first_use[activity, not is_new]
            spelling = "" if other.activity == clip.activity else f" as {other.activity!r}"
            raise UserError(
                f"{place}, column activity: expected new activities in {' and '.join(taxonomy.NEW_SPLITS)} only, got "
                f"{clip.activity!r} in {clip.split} here and in {other.split}{spelling} at "
                f"{_short(other_place, place)}: move its clips to one side"
            )


def _short(place: str, other: str) -> str:
    """'line 7' for '/path/annotations.csv, line 7' if the other place is in the same file."""
    file, _, line = place.rpartition(", ")
    return line if file == other.rpartition(", ")[0] else place
