"""Skeletons that come with a video: results of a pose estimator, in any format that can be imported into a data set.

`data/skeletons/pose_results.py` lists the formats. Results beside a video `squat.mp4` are `squat.json`,
`squat/alphapose-results.json` or `squat/*_keypoints.json` (OpenPose).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.data.skeletons.alphapose import TAIL_FRAMES, VARIABLE_RATE, SkeletonError, parse_detections
from musclemap_jax.data.skeletons.person_linking import Detection
from musclemap_jax.data.skeletons.pose_results import ALPHAPOSE_FILE, read_clip
from musclemap_jax.errors import UserError
from musclemap_jax.predict.names import shown
from tfds_musclemap.importing.skeletons import MAX_PERSONS, convert_persons, stored_layout

_OPENPOSE_FILES = "*_keypoints.json"


def find_skeleton(video: Path) -> Path | None:
    """The pose results beside a video; None if there are none."""
    file, folder = video.with_suffix(".json"), video.with_suffix("")
    if file.is_file():
        return file
    if folder.is_dir() and ((folder / ALPHAPOSE_FILE).is_file() or any(folder.glob(_OPENPOSE_FILES))):
        return folder
    return None


def read_skeleton_file(
    path: str | Path, layout: str, clip_id: str = "", max_persons: int = MAX_PERSONS
) -> list[list[Detection]]:
    """Reads the persons of a video, linked as in a raw data set.

    Args:
      path: Pose results: a file or a folder.
      layout: Joint order of the results, one of `tfds_musclemap.importing.skeletons.INPUT_LAYOUTS`.
      clip_id: The video's name without extension, to find it in results of several videos.
      max_persons: The most prominent persons are kept; see `person_linking.link_persons`.

    Returns:
      The detections of each person in the order of frames; `idx` is the person's number, from 1 in the order of the
      first appearance. Joints are in the layout `stored_layout(layout)`, in pixels of the video.

    Raises:
      UserError: Unknown layout, or results that cannot be read or have joints of another layout.
    """
    stored = stored_layout(layout)
    path = Path(path)
    try:
        detections = parse_detections(read_clip(path, clip_id), stored, path.name)
    except SkeletonError as error:
        reason = " ".join(str(error).removeprefix(f"{path.name}: ").split())
        # A file of the video's name was perhaps never meant to be taken for its skeletons.
        fix = ": move it elsewhere if it is something else" if path.stem == clip_id else ""
        raise UserError(f"{shown(path)}: not usable as pose results of the video: {reason}{fix}") from error
    persons = convert_persons(detections, stored, stored, max_persons)
    persons.sort(key=lambda person: person[0].frame)
    return [[detection._replace(idx=number) for detection in person] for number, person in enumerate(persons, start=1)]


def check_frames(
    persons: Sequence[Sequence[Detection]], num_frames: int, path: str | Path, has_variable_rate: bool = False
) -> None:
    """Refuses the skeletons of another video.

    Args:
      persons: The result of `read_skeleton_file`.
      num_frames: T, the number of frames of the video.
      path: The skeletons' file or folder, for the error.
      has_variable_rate: Whether the video has a variable frame rate.

    Raises:
      UserError: There are skeletons after the video's end; decoders disagree about the last frame or two.
    """
    last = max((person[-1].frame for person in persons if person), default=0)
    if last >= num_frames + TAIL_FRAMES:
        raise UserError(
            f"{shown(path)}: expected frames 0 to {num_frames - 1} of the video, got frame {last}: "
            f"is it the file of another video?{f' {VARIABLE_RATE}' if has_variable_rate else ''}"
        )
