"""Results of pose estimators in the layouts that their tools write, read clip by clip as AlphaPose entries.

    FOLDER/<clip_id>.json                          AlphaPose results of a clip, or OpenPose frames in one object
    FOLDER/AlphaPose_<clip_id>.json                the same, as AlphaPose names the results of a video
    FOLDER/<clip_id>/alphapose-results.json        AlphaPose, one folder per clip
    FOLDER/<clip_id>/<name>_000012_keypoints.json  OpenPose (``--write_json``), one file per frame
    FOLDER/<clip_id>.pkl                           mmaction2's and PYSKL's annotation of a clip (``pyskl_pickles``)
    FILE.json                                      one file for all clips: AlphaPose entries whose image names contain
                                                   the clip (``<clip_id>_000012.jpg``, ``<clip_id>/000012.jpg``), or an
                                                   object from clip id to the entries of the clip
    FILE.pkl                                       mmaction2's and PYSKL's annotations of all clips

Sources: the tools' own descriptions of their output. AlphaPose's formats ``open`` and ``cmu`` are OpenPose frames, with
other names of the fields in ``cmu``, and 18 joints. The last part of a clip id also finds the clip where no other clip
has the same. A clip with several results is an error. OpenPose writes a ``person_id`` of -1 for a person without a
number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from musclemap_jax.data.skeletons.alphapose import ClipPoses, SkeletonError, read_json
from musclemap_jax.data.skeletons.pyskl_pickles import read_annotations
from musclemap_jax.errors import UserError

ALPHAPOSE_FILE = "alphapose-results.json"
OPENPOSE_FILES = "*_keypoints.json"

_PICKLES = (".pkl", ".pickle")
_PERSONS = {"people": "pose_keypoints_2d", "bodies": "joints"}
"""Field of a frame that lists the persons -> field of a person that holds the joints: OpenPose's, AlphaPose's cmu."""

_IMAGE = re.compile(r"(?P<clip>.*?)[_./ -]?(?P<frame>[0-9]+)(?:\.[A-Za-z]\w*)?", re.DOTALL)
_SEPARATORS = "_-./ "
_NUM_NAMED = 3


def read_entries(
    source: str | Path, clip_ids: Sequence[str], wanted: Collection[str] | None = None
) -> Iterator[tuple[str, ClipPoses | SkeletonError]]:
    """Yields each clip that has results, with its poses or with the error of its file.

    A folder is read clip by clip, one file for all clips at once into memory.

    Args:
      source: Folder or file of results.
      clip_ids: All clips of the data set: the last part of an id finds a clip only if no other one has the same.
      wanted: The clips to read; all by default.

    Raises:
      UserError: No such file or folder, a file for all clips that is malformed or has a clip twice, or results of none
        of the clips.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source}: expected pose results, found no such file or folder")
    chosen = set(clip_ids if wanted is None else wanted)
    known = _clip_ids_by_name(clip_ids)
    names = {name: clip_id for name, clip_id in known.items() if clip_id in chosen}
    found = False
    for clip_id, poses in _read_folder(source, names, known) if source.is_dir() else _read_file(source, names):
        found = True
        yield clip_id, poses
    if not found:
        raise UserError(
            f"{source}: expected pose results of clips such as {', '.join(sorted(chosen)[:3])}, found none of them: "
            f"name the results by clip id"
        )


def read_clip(source: str | Path, clip_id: str) -> list[Any]:
    """AlphaPose entries of one clip, from results of this clip alone or of several.

    Args:
      source: Any of the above, or the folder of one clip.
      clip_id: The clip. A file whose entries name no clip, or one clip only, holds this clip's results under any name.

    Raises:
      SkeletonError: Results that cannot be read, several results of the clip, or results of other clips.
    """
    source = Path(source)
    if source.is_dir():
        return _read_clip(_results_in(source, clip_id, [clip_id]) or source).entries
    content = read_json(source, source.name)
    try:
        if isinstance(content, dict) and clip_id in content:
            content = content[clip_id]
        elif isinstance(content, list):
            content = _of_clip(content, clip_id)
        return alphapose_entries(content)
    except ValueError as error:
        raise SkeletonError(f"{source.name}: {error}") from error


def _of_clip(entries: list[Any], clip_id: str) -> list[Any]:
    """The entries of a clip among those of several clips; all if they are of one clip. Raises ValueError."""
    names = [_clip_of(entry) for entry in entries]
    found = sorted({name for name in names if name})
    wanted = [name for name in found if clip_id in (name, name.rpartition("/")[2])]
    if len(found) < 2:
        return entries
    if not wanted:
        raise ValueError(f"expected results of {clip_id}, found results of {', '.join(found[:_NUM_NAMED])}")
    return [entry for entry, name in zip(entries, names, strict=True) if name == wanted[0]]


def _clip_of(entry: Any) -> str | None:
    """The part of an entry's image name that names its clip; empty if there is none, None without a name."""
    image = entry.get("image_id") if isinstance(entry, dict) else None
    match = _IMAGE.fullmatch(image) if isinstance(image, str) else None
    return match["clip"].rstrip(_SEPARATORS) if match else None


def alphapose_entries(content: Any) -> list[Any]:
    """AlphaPose entries of a clip's parsed results: a list of entries, or an object from image name to OpenPose frame.

    Raises ValueError for anything else.
    """
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        raise ValueError(f"expected a list of detections or an object of frames, got {type(content).__name__}")
    return [entry for image, frame in content.items() for entry in openpose_entries(image, frame)]


def openpose_entries(image: str, frame: Any) -> list[dict[str, Any]]:
    """AlphaPose entries of the persons of one OpenPose frame; the image's name contains the frame's number.

    The frame is parsed JSON, ``{"people": [{"person_id": [-1], "pose_keypoints_2d": [...]}]}``, or AlphaPose's form of
    it, ``{"bodies": [{"joints": [...]}]}``; ValueError otherwise.
    """
    field = next((field for field in _PERSONS if isinstance(frame, dict) and field in frame), "people")
    people = frame.get(field) if isinstance(frame, dict) else None
    if not isinstance(people, list):
        raise ValueError(f"{image}: expected an OpenPose frame, an object with a list 'people'")
    entries = []
    for person in people:
        if not isinstance(person, dict) or _PERSONS[field] not in person:
            raise ValueError(f"{image}: expected persons with {_PERSONS[field]!r}")
        entry = {"image_id": image, "keypoints": person[_PERSONS[field]]}
        if person.get("person_id") not in (None, -1, [-1], []):
            entry["idx"] = person["person_id"]
        entries.append(entry)
    return entries


def _clip_ids_by_name(clip_ids: Sequence[str]) -> dict[str, str]:
    """{name: clip id} of all names that find a clip: its id, and the last part of it if no other clip has the same."""
    last_parts = {clip_id: clip_id.rpartition("/")[2] for clip_id in clip_ids}
    uses = Counter(last_parts.values())
    unique = {part: clip_id for clip_id, part in last_parts.items() if uses[part] == 1}
    return unique | {clip_id: clip_id for clip_id in clip_ids}


def _results_in(folder: Path, clip_id: str, names: Sequence[str]) -> Path | None:
    """The file or folder of a clip's results, by any of its names, in a folder of results; None if there are none.

    Raises SkeletonError if there are several.
    """
    found = [path for name in names for path in _candidates(folder, name) if path.exists()]
    if len(found) > 1:
        places = " and ".join(path.relative_to(folder).as_posix() for path in found)
        raise SkeletonError(f"{clip_id}: expected one file or folder of results, found {places}: keep one of them")
    # A folder of the clip's name, if nothing else: it may hold the results of other clips, whose ids begin with it.
    return next((path for path in (*found, *(folder / name for name in names)) if path.exists()), None)


def _candidates(folder: Path, name: str) -> list[Path]:
    path = folder / name
    files = [folder / f"{name}{suffix}" for suffix in (".json", *_PICKLES)]
    is_of_clip = (path / ALPHAPOSE_FILE).exists() or any(path.glob(OPENPOSE_FILES))
    return [*files, path.with_name(f"AlphaPose_{path.name}.json"), *([path] if is_of_clip else [])]


def _read_folder(
    folder: Path, names: dict[str, str], known: dict[str, str]
) -> Iterator[tuple[str, ClipPoses | SkeletonError]]:
    """The clips that have results, found by their names; `known` has the names of all clips of the data set."""
    names_of: dict[str, list[str]] = {}
    for name, clip_id in sorted(names.items(), key=lambda item: (item[1], item[1] != item[0])):
        names_of.setdefault(clip_id, []).append(name)
    for clip_id, of_clip in names_of.items():
        try:
            if path := _results_in(folder, clip_id, of_clip):
                poses = _read_clip(path)
                _check_images(poses, clip_id, known, path.relative_to(folder).as_posix())
                yield clip_id, poses
        except SkeletonError as error:
            yield clip_id, error


def _check_images(poses: ClipPoses, clip_id: str, known: dict[str, str], label: str) -> None:
    """Raises SkeletonError if the names of a clip's images say that they are of another clip."""
    others = {known[name] for entry in poses.entries if (name := _clip_of(entry)) in known} - {clip_id}
    if others:
        raise SkeletonError(
            f"{label}: expected results of {clip_id}, got images of {', '.join(sorted(others)[:_NUM_NAMED])}: "
            "give each clip its own results"
        )


def _read_clip(path: Path) -> ClipPoses:
    """Poses in one clip's file or folder."""
    label = f"{path.parent.name}/{path.name}"
    try:
        if path.suffix in _PICKLES:
            found = [poses for _, poses in read_annotations(path)]
            if len(found) != 1:
                raise SkeletonError(f"{label}: expected the annotation of one clip, got {len(found)}")
            return found[0]
        if path.is_dir() and (path / ALPHAPOSE_FILE).exists():
            if any(path.glob(OPENPOSE_FILES)):
                raise SkeletonError(
                    f"{label}: expected results of one pose estimator, found {ALPHAPOSE_FILE} and OpenPose's files: "
                    "keep one of them"
                )
            return ClipPoses(alphapose_entries(read_json(path / ALPHAPOSE_FILE, f"{label}/{ALPHAPOSE_FILE}")))
        if path.is_dir():
            frames = sorted(path.glob("*.json"))
            if not frames:
                raise SkeletonError(f"{label}: expected {ALPHAPOSE_FILE} or OpenPose's files, found no JSON files")
            return ClipPoses(
                [
                    entry
                    for file in frames
                    for entry in openpose_entries(file.name, read_json(file, f"{label}/{file.name}"))
                ]
            )
        return ClipPoses(alphapose_entries(read_json(path, label)))
    except UserError as error:
        raise SkeletonError(str(error)) from error
    except ValueError as error:
        raise error if isinstance(error, SkeletonError) else SkeletonError(f"{label}: {error}") from error


def _read_file(path: Path, names: dict[str, str]) -> Iterator[tuple[str, ClipPoses | SkeletonError]]:
    places: dict[str, str] = {}
    if path.suffix in _PICKLES:
        for number, (name, poses) in enumerate(read_annotations(path)):
            if name in names:
                _check_first(path, places, names[name], f"annotation {number}")
                yield names[name], poses
        return
    try:
        content = read_json(path, str(path))
    except SkeletonError as error:
        raise UserError(str(error)) from error
    if isinstance(content, dict):
        for key, value in content.items():
            if key in names:
                _check_first(path, places, names[key], repr(key))
                try:
                    yield names[key], ClipPoses(alphapose_entries(value))
                except ValueError as error:
                    yield names[key], SkeletonError(f"{path.name}: {key}: {error}")
        return
    if not isinstance(content, list):
        raise UserError(f"{path}: expected a list of detections, or an object by clip id, got {type(content).__name__}")
    clips: dict[str, list[Any]] = {}
    for entry in content:
        name = _clip_of(entry)
        clip_id = None if name is None else names.get(name)
        if clip_id is not None:
            clips.setdefault(clip_id, []).append(entry)
    yield from ((clip_id, ClipPoses(clips[clip_id])) for clip_id in sorted(clips))


def _check_first(path: Path, places: dict[str, str], clip_id: str, place: str) -> None:
    """Notes where in a file a clip's results are. Raises UserError if it has some already."""
    if (first := places.setdefault(clip_id, place)) != place:
        raise UserError(f"{path}: expected {clip_id} once, found it in {first} and {place}: remove one of them")
