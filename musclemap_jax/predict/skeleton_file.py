"""Skeletons that come with a video: results of a pose estimator, in any format that can be imported into a data set.

`data/skeletons/pose_results.py` lists the formats. Results beside a video `squat.mp4` are `squat.json`,
`squat/alphapose-results.json` or `squat/*_keypoints.json` (OpenPose).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.data.skeletons.alphapose import SkeletonError, check_last_frame, parse_detections
from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.data.skeletons.evidence import clip_fault, evidence_of_detections
from musclemap_jax.data.skeletons.pose_results import ALPHAPOSE_FILE, OPENPOSE_FILES, read_clip
from musclemap_jax.errors import UserError
from musclemap_jax.predict.names import shown
from tfds_musclemap.importing.skeleton_conversion import MAX_PERSONS, convert_persons, stored_layout


def skeletons_beside(video: Path) -> list[Path]:
    """The file and the folder of pose results beside a video, as far as they exist."""
    file, folder = video.with_suffix(".json"), video.with_suffix("")
    has_results = folder.is_dir() and ((folder / ALPHAPOSE_FILE).is_file() or any(folder.glob(OPENPOSE_FILES)))
    return [file] * file.is_file() + [folder] * has_results


def find_skeleton(video: Path) -> Path | None:
    """The pose results beside a video; None if there are none. UserError if there are several."""
    found = skeletons_beside(video)
    if len(found) > 1:
        raise UserError(
            f"{shown(video)}: expected its pose results in one place, found {shown(found[0].name)} and the folder "
            f"{shown(found[1].name)} beside it: move one of them elsewhere, or name one by --skeleton"
        )
    return found[0] if found else None


def read_skeleton_file(path: str | Path, layout: str, clip_id: str = "") -> list[list[Detection]]:
    """Reads the persons of a video, linked as in a raw data set.

    Args:
      path: Pose results: a file or a folder.
      layout: Joint order of the results, one of `skeleton_conversion.INPUT_LAYOUTS`.
      clip_id: The video's name without extension, to find it in results of several videos.

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
    persons = convert_persons(detections, stored, stored, MAX_PERSONS)
    persons.sort(key=lambda person: person[0].frame)
    return [[detection._replace(idx=number) for detection in person] for number, person in enumerate(persons, start=1)]


def check_skeleton(
    persons: Sequence[Sequence[Detection]],
    layout: str,
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    num_frames: int = 0,
    has_variable_rate: bool = False,
) -> None:
    """Refuses the skeletons of another video, or in another unit than its frames and pixels.

    Args:
      persons: Their detections.
      layout: Joint order.
      path: The skeletons' file or folder, for the error.
      size: (height, width) of the video, once it is known.
      num_frames: T, the number of frames of the video, once it is known.
      has_variable_rate: Whether the video has a variable frame rate.

    Raises:
      UserError: There are skeletons after the video's end (decoders disagree about the last frame or two), or they
        cannot belong to the video for another reason (`evidence.clip_fault`).
    """
    detections = [detection for person in persons for detection in person]
    if num_frames:
        try:
            check_last_frame(detections, num_frames, shown(path), has_variable_rate)
        except SkeletonError as error:
            raise UserError(str(error)) from error
    if fault := clip_fault(evidence_of_detections(detections, layout, num_frames, size=size)):
        raise UserError(f"{shown(path)}: {fault.reason}: expected frames and pixels of the video")
