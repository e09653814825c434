"""Results of pose estimators as their tools lay them out, clip by clip, as AlphaPose entries.

    FOLDER/<clip_id>.json                          AlphaPose results of a clip, or OpenPose frames in one object
    FOLDER/<clip_id>/alphapose-results.json        AlphaPose, a folder a clip
    FOLDER/<clip_id>/<name>_000012_keypoints.json  OpenPose (``--write_json``), a file a frame
    FILE                                           one file for all clips: AlphaPose entries whose image names hold the
                                                   clip (``<clip_id>_000012.jpg``, ``<clip_id>/000012.jpg``), or an
                                                   object from clip id to the entries of the clip

Sources: AlphaPose's and OpenPose's descriptions of their output. A clip id is also found by its last part where that is
the only clip's. OpenPose's ``person_id`` of -1 is no number of a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from musclemap_jax.data.skeletons.skeleton import SkeletonError, read_json
from musclemap_jax.errors import UserError

ALPHAPOSE_FILE = "alphapose-results.json"

_IMAGE = re.compile(r"(?P<clip>.*?)[_./ -]?(?P<frame>[0-9]+)(?:\.[A-Za-z]\w*)?", re.DOTALL)
_SEPARATORS = "_-./ "


def read_entries(source: str | Path, clip_ids: Sequence[str]) -> Iterator[tuple[str, list[Any] | SkeletonError]]:
    """Yields the clips that have results, with their AlphaPose entries or with what is wrong with their file.

    Args:
      source: a folder (read clip by clip) or one file for all clips (read into memory at once).
      clip_ids: of the raw data set.

    Raises:
      UserError: no such file or folder, a file that is no such thing, or nothing in it about any of the clips.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source}: expected pose results, found no such file or folder")
    names = _names(clip_ids)
    found = False
    for clip_id, content in _of_folder(source, names) if source.is_dir() else _of_file(source, names):
        found = True
        yield clip_id, content
    if not found:
        raise UserError(
            f"{source}: expected pose results of clips such as {', '.join(list(clip_ids)[:3])}, found none of any: "
            f"name them by clip id"
        )


def alphapose_entries(content: Any) -> list[Any]:
    """AlphaPose entries of a clip's parsed results: a list of entries, or an object from image name to OpenPose frame.

    Raises:
      ValueError: it is neither.
    """
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        raise ValueError(f"expected a list of detections or an object of frames, got {type(content).__name__}")
    entries = []
    for image, frame in content.items():
        entries += openpose_entries(image, frame)
    return entries


def openpose_entries(image: str, frame: Any) -> list[dict[str, Any]]:
    """AlphaPose entries of the persons of one OpenPose frame.

    Args:
      image: name that holds the frame's number.
      frame: parsed JSON, ``{"people": [{"person_id": [-1], "pose_keypoints_2d": [...]}]}``.

    Raises:
      ValueError: it is no such frame.
    """
    people = frame.get("people") if isinstance(frame, dict) else None
    if not isinstance(people, list):
        raise ValueError(f"{image}: expected an OpenPose frame, an object with a list 'people'")
    entries = []
    for person in people:
        if not isinstance(person, dict) or "pose_keypoints_2d" not in person:
            raise ValueError(f"{image}: expected persons with 'pose_keypoints_2d'")
        entry = {"image_id": image, "keypoints": person["pose_keypoints_2d"]}
        if person.get("person_id") not in (None, -1, [-1], []):
            entry["idx"] = person["person_id"]
        entries.append(entry)
    return entries


def _names(clip_ids: Sequence[str]) -> dict[str, str]:
    """Clip id by each name that it may go by: itself, and its last part if no other clip has the same."""
    last_parts: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        last_parts.setdefault(clip_id.rpartition("/")[2], []).append(clip_id)
    unique = {part: owners[0] for part, owners in last_parts.items() if len(owners) == 1}
    return unique | {clip_id: clip_id for clip_id in clip_ids}


def _of_folder(folder: Path, names: dict[str, str]) -> Iterator[tuple[str, list[Any] | SkeletonError]]:
    done = set()
    for name, clip_id in sorted(names.items(), key=lambda item: (item[1], item[1] != item[0])):
        path = next((path for path in (folder / f"{name}.json", folder / name) if path.exists()), None)
        if path is not None and clip_id not in done:
            done.add(clip_id)
            try:
                yield clip_id, _of_path(path)
            except SkeletonError as error:
                yield clip_id, error


def _of_path(path: Path) -> list[Any]:
    """Entries of one clip's file or folder."""
    label = f"{path.parent.name}/{path.name}"
    try:
        if path.is_dir() and (path / ALPHAPOSE_FILE).exists():
            return alphapose_entries(read_json(path / ALPHAPOSE_FILE, f"{label}/{ALPHAPOSE_FILE}"))
        if path.is_dir():
            frames = sorted(path.glob("*.json"))
            if not frames:
                raise SkeletonError(f"{label}: expected {ALPHAPOSE_FILE} or OpenPose's files, found no JSON file")
            return [
                entry
                for file in frames
                for entry in openpose_entries(file.name, read_json(file, f"{label}/{file.name}"))
            ]
        return alphapose_entries(read_json(path, label))
    except ValueError as error:
        raise error if isinstance(error, SkeletonError) else SkeletonError(f"{label}: {error}") from error


def _of_file(path: Path, names: dict[str, str]) -> Iterator[tuple[str, list[Any] | SkeletonError]]:
    try:
        content = read_json(path, str(path))
    except SkeletonError as error:
        raise UserError(str(error)) from error
    if isinstance(content, dict):
        for key, value in content.items():
            if key in names:
                try:
                    yield names[key], alphapose_entries(value)
                except ValueError as error:
                    yield names[key], SkeletonError(f"{path.name}: {key}: {error}")
        return
    if not isinstance(content, list):
        raise UserError(f"{path}: expected a list of detections, or an object by clip id, got {type(content).__name__}")
    clips: dict[str, list[Any]] = {}
    for entry in content:
        image = entry.get("image_id") if isinstance(entry, dict) else None
        match = _IMAGE.fullmatch(image) if isinstance(image, str) else None
        clip_id = names.get(match["clip"].rstrip(_SEPARATORS)) if match else None
        if clip_id is not None:
            clips.setdefault(clip_id, []).append(entry)
    yield from sorted(clips.items())
