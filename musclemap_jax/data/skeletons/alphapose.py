"""Reading and writing of 2D skeletons as AlphaPose results, the format of a raw data set's skeleton files.

AlphaPose's default format is a JSON list with one entry per person and frame, ``{"image_id": "000012.jpg",
"category_id": 1, "keypoints": [x, y, score] * V, "score": s, "box": [x, y, w, h], "idx": i}``. Frames are aligned by
number (the last number in ``image_id``; the first frame is 0), never by the order of the entries, since frames without
a person are absent from the file. ``pose_results`` turns results of other tools into this format.

Everywhere a joint with score 0 is absent and has x = y = 0.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from musclemap_jax.data.skeletons.person_linking import Detection, bounding_box, joints_by_person, link_persons
from musclemap_jax.skeleton_layouts import EXTENDED_LAYOUTS, LAYOUTS, get_layout
from musclemap_jax.storage.files import replace_text

TAIL_FRAMES = 2
"""Number of frames past the end of the video that are ignored: decoders disagree about the last frame or two."""


class SkeletonError(ValueError):
    """An invalid skeleton file of one clip; the message is one line that names the file."""


class FrameNumberError(SkeletonError):
    """Poses of frames that the video does not have."""


VARIABLE_RATE = (
    "or made on images at a constant rate? this video's rate is variable: estimate the poses on its own frames, or "
    "convert it to a constant rate first (ffmpeg -i IN -fps_mode cfr OUT)"
)
"""What else may be wrong with the numbers of frames where a video has a variable frame rate."""


def read_alphapose(path: str | Path, layout: str, num_frames: int) -> np.ndarray:
    """Reads the persons of one clip, the most prominent one first.

    ``link_persons`` says how detections of different frames are linked and what prominent means. Joint scores are
    clipped to [0, 1].

    Args:
      path: The JSON file.
      layout: Name of the joint order that the raw data set declares.
      num_frames: T, the number of frames of the video.

    Returns:
      (T, P, V, 3) float32: x, y in pixels of the original video, score; P is the number of persons found, 0 or more.

    Raises:
      SkeletonError: The file cannot be read, is not such a list, or has joints of another layout or frames of another
        video.
      UserError: Unknown layout.
    """
    path = Path(path)
    name = f"{path.parent.name}/{path.name}"
    num_joints = get_layout(layout).num_joints
    entries = read_json(path, name)
    if not isinstance(entries, list):
        raise SkeletonError(
            f"{name}: expected a list of detections (AlphaPose's default format), got {type(entries).__name__}"
        )
    detections = parse_detections(entries, layout, name)
    last = max((detection.frame for detection in detections), default=0)
    if last >= num_frames + TAIL_FRAMES:
        raise FrameNumberError(
            f"{name}: expected frames 0 to {num_frames - 1} of the video, got frame {last}: "
            "is it the file of another video?"
        )
    detections = [detection for detection in detections if detection.frame < num_frames]

    return joints_by_person(link_persons(detections), num_frames, num_joints)


def read_json(path: Path, name: str) -> Any:
    """Content of a JSON file. Raises SkeletonError, which calls the file ``name``."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SkeletonError(f"{name}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SkeletonError(f"{name}: expected AlphaPose JSON, got a file that is not JSON: {error}") from error


def parse_detections(entries: Sequence[Any], layout: str, name: str) -> list[Detection]:
    """Detections of AlphaPose's entries, one per person and frame, with joint scores clipped to [0, 1].

    Halpe-136 entries are read as Halpe-26. Raises SkeletonError, which calls the file ``name``, for an invalid entry,
    and UserError for an unknown layout.
    """
    num_joints = get_layout(layout).num_joints
    detections = []
    for number, entry in enumerate(entries):
        try:
            detections.append(_detection(entry, layout, num_joints))
        except (ValueError, TypeError, OverflowError) as error:
            raise SkeletonError(f"{name}: entry {number}: {error}") from error
    return detections


def write_alphapose(path: str | Path, skeleton: np.ndarray) -> None:
    """Writes a clip's persons in AlphaPose's format; the same input gives the same bytes.

    The skeleton is (T, P, V, 3) x, y in pixels, score in [0, 1]; score 0 is an absent joint. Places are rounded to 0.01
    pixels and scores to 0.001. A person without a joint in a frame has no entry for it; a person's score is the mean of
    the joints' scores.
    """
    skeleton = np.asarray(skeleton, np.float64)
    scores = skeleton[..., 2].mean(axis=-1)
    persons: list[list[Detection]] = [[] for _ in range(skeleton.shape[1])]
    for frame, person in np.argwhere((skeleton[..., 2] > 0).any(axis=-1)).tolist():
        joints = _rounded(skeleton[frame, person])
        persons[person].append(Detection(frame, None, joints, bounding_box(joints), float(scores[frame, person])))
    write_persons(path, persons)


def write_persons(path: str | Path, persons: Sequence[Sequence[Detection]]) -> None:
    """Writes linked persons in AlphaPose's format, rounded as by ``write_alphapose``; boxes and scores are kept.

    A person's place in the list, from 1, becomes its ``idx``.
    """
    detections = [(detection, idx) for idx, person in enumerate(persons, start=1) for detection in person]
    entries = [
        {
            "image_id": f"{detection.frame:06d}.jpg",
            "category_id": 1,
            "keypoints": _rounded(detection.joints).ravel().tolist(),
            "score": round(detection.score, 3),
            "box": [round(value, 2) for value in detection.box],
            "idx": idx,
        }
        for detection, idx in sorted(detections, key=lambda pair: (pair[0].frame, pair[1]))
    ]
    replace_text(epath.Path(path), json.dumps(entries, separators=(",", ":")) + "\n")


def _detection(entry: Any, layout: str, num_joints: int) -> Detection:
    """One entry of the file. Raises ValueError or TypeError, saying what was expected and what came."""
    if not isinstance(entry, dict):
        raise TypeError(f"expected an object, got {type(entry).__name__}")
    for field in ("image_id", "keypoints"):
        if field not in entry:
            raise ValueError(f"expected the field {field!r}, got {', '.join(map(repr, entry)) or 'none'}")
    try:
        joints = np.asarray(entry["keypoints"], np.float32).ravel()
    except (ValueError, TypeError):
        raise ValueError("keypoints: expected numbers [x, y, score] for each joint") from None
    if any((layout, joints.size) == (kept, 3 * count) for kept, count in EXTENDED_LAYOUTS.values()):
        joints = joints[: 3 * num_joints]
    if joints.size != 3 * num_joints:
        raise ValueError(_wrong_count(layout, num_joints, joints.size))
    if not np.isfinite(joints).all():
        raise ValueError("keypoints: expected finite numbers, got NaN or infinity")
    joints = joints.reshape(num_joints, 3)
    joints[:, 2] = np.minimum(np.maximum(joints[:, 2], 0), 1)
    joints[joints[:, 2] == 0] = 0

    score = float(entry["score"] if "score" in entry else joints[:, 2].mean())
    if not math.isfinite(score):
        raise ValueError(f"score: expected a finite number, got {score}")
    return Detection(frame_number(entry["image_id"]), _idx(entry.get("idx")), joints, _box(entry, joints), score)


def _wrong_count(layout: str, num_joints: int, num_values: int) -> str:
    got = f"{num_values // 3}" if num_values % 3 == 0 else f"{num_values} numbers, not a multiple of 3"
    counts = [*((name, other.num_joints) for name, other in LAYOUTS.items()), *EXTENDED_LAYOUTS.values()]
    others = [name for name, count in counts if 3 * count == num_values]
    fix = f"skeleton_layout={others[0]!r}" if others else "the layout that the file has"
    return f"layout {layout} has {num_joints} joints, got {got}: declare {fix}"


def frame_number(image_id: Any) -> int:
    """The last number of an image's name (``clip_000012.jpg``), or the number itself. Raises ValueError."""
    if isinstance(image_id, int) and not isinstance(image_id, bool):
        if image_id < 0:
            raise ValueError(f"image_id: expected a frame number of at least 0, got {image_id}")
        return image_id
    stem = re.sub(r"\.[A-Za-z]\w*$", "", str(image_id))
    numbers = re.findall(r"\d+", stem)
    if not numbers:
        raise ValueError(f"image_id: expected a name with the frame's number, such as 000012.jpg, got {image_id!r}")
    return int(numbers[-1])


def _idx(idx: Any) -> float | None:
    """The tracker's number of a person: AlphaPose writes it as it is or in a (nested) list."""
    while isinstance(idx, list) and idx:
        idx = idx[0]
    return float(idx) if isinstance(idx, int | float) and not isinstance(idx, bool) else None


def _box(entry: dict[str, Any], joints: np.ndarray) -> tuple[float, float, float, float]:
    """The entry's box, or the bounding box of its joints where it has none."""
    if "box" in entry:
        box = np.asarray(entry["box"], np.float64)
        values = tuple(box.ravel().tolist())
        if box.shape != (4,) or not all(map(math.isfinite, values)) or min(values[2:]) < 0:
            raise ValueError(f"box: expected [x, y, width, height], got {entry['box']!r:.60}")
        return values
    return bounding_box(joints)


def _rounded(joints: np.ndarray) -> np.ndarray:
    """(V, 3) float64, rounded as in the files; absent joints are all zero."""
    joints = np.asarray(joints, np.float64)
    rounded = np.concatenate([joints[:, :2].round(2), joints[:, 2:].round(3).clip(0.001)], axis=-1)
    return np.where(joints[:, 2:] > 0, rounded, 0.0) + 0.0  # adding 0.0 turns -0.0 into 0.0
