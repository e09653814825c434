"""Reading and writing of 2D skeletons as AlphaPose results, the format of a raw data set's skeleton files.

AlphaPose's default format is a JSON list with one entry per person and frame, ``{"image_id": "000012.jpg",
"category_id": 1, "keypoints": [x, y, score] * V, "score": s, "box": [x, y, w, h], "idx": i}``. Frames are aligned by
number (the last number in ``image_id``; the first frame is 0), never by the order of the entries, since frames without
a person are absent from the file. ``pose_results`` turns results of other tools into this format.

Everywhere a joint with score 0 is absent and has x = y = 0.

Letters of shapes: N entries, V joints.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Float

from musclemap_jax.data.skeletons.detection import Box, Detection, bounding_box
from musclemap_jax.data.skeletons.evidence import clip_fault, evidence_of_detections
from musclemap_jax.data.skeletons.person_linking import joints_by_person, link_persons
from musclemap_jax.skeleton_layouts import EXTENDED_LAYOUTS, LAYOUTS, get_layout
from musclemap_jax.storage.files import replace_text
from musclemap_jax.storage.regular_file import check_regular_file

_PLAIN_NAME = re.compile(r"(\d+)\.[A-Za-z]\w*")

MAX_FRAME = 10_000_000
"""Largest number that a frame may have, which a video reaches after days; joints are kept for every frame up to it."""

TAIL_FRAMES = 2
"""Number of frames past the end of the video that are ignored: decoders disagree about the last frame or two."""


class SkeletonError(ValueError):
    """An invalid skeleton file of one clip; the message is one line that names the file."""


VARIABLE_RATE = (
    "or made on images at a constant rate? this video's rate is variable: estimate the poses on its own frames, or "
    "convert it to a constant rate first (ffmpeg -i IN -fps_mode cfr OUT)"
)
"""What else may be wrong with the numbers of frames where a video has a variable frame rate."""


@dataclasses.dataclass(frozen=True)
class ClipPoses:
    """A clip's poses as a file gives them.

    Attributes:
      entries: AlphaPose entries, for ``parse_detections``.
      image_size: (height, width) of the images that places refer to; None where the file does not say.
    """

    entries: list[Any]
    image_size: tuple[int, int] | None = None


def read_alphapose(
    path: str | Path,
    layout: str,
    num_frames: int,
    size: tuple[int, int] | None = None,
    has_variable_rate: bool = False,
) -> np.ndarray:
    """Reads the persons of one clip, the most prominent one first.

    ``link_persons`` says how detections of different frames are linked and what prominent means.

    Args:
      path: The JSON file.
      layout: Name of the joint order that the raw data set declares.
      num_frames: T, the number of frames of the video.
      size: (height, width) of the video in pixels, if it is known.

    Returns:
      (T, P, V, 3) float32: x, y in pixels of the original video, score; P is the number of persons found, 0 or more.

    Raises:
      SkeletonError: The file cannot be read, is not such a list, has joints of another layout or frames of another
        video, or cannot belong to the video (`evidence.clip_fault`).
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
    check_last_frame(detections, num_frames, name, has_variable_rate)
    if fault := clip_fault(evidence_of_detections(detections, layout, num_frames, size=size)):
        fix = f"? Import it again with {fault.options} (tfds_musclemap.import_skeletons)" if fault.options else ""
        raise SkeletonError(f"{name}: {fault.reason}{fix}")
    detections = [detection for detection in detections if detection.frame < num_frames]

    return joints_by_person(link_persons(detections), num_frames, num_joints)


def check_last_frame(
    detections: Iterable[Detection], num_frames: int, name: str, has_variable_rate: bool = False
) -> None:
    """Raises SkeletonError, which calls the file ``name``, for detections after the end of a video of T frames."""
    last = max((detection.frame for detection in detections), default=0)
    if last >= num_frames + TAIL_FRAMES:
        raise SkeletonError(
            f"{name}: expected frames 0 to {num_frames - 1} of the video, got frame {last}: "
            "is it the file of another video, or of another frame rate?"
            + (f" {VARIABLE_RATE}" if has_variable_rate else "")
        )


def read_json(path: Path, name: str) -> Any:
    """Content of a JSON file. Raises SkeletonError, which calls the file ``name``."""
    try:
        check_regular_file(path)
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SkeletonError(f"{name}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SkeletonError(f"{name}: expected AlphaPose JSON, got a file that is not JSON: {error}") from error


def parse_detections(entries: Sequence[Any], layout: str, name: str, max_score: float = 1.0) -> list[Detection]:
    """Detections of AlphaPose's entries, one per person and frame.

    Halpe-136 entries are read as Halpe-26. A joint that is NaN is absent.

    Args:
      entries: The entries.
      layout: Joint order.
      name: What errors call the file.
      max_score: The joint score of a sure joint, which becomes 1; larger scores become 1 too.

    Raises:
      SkeletonError: An invalid entry, or joint scores that are above ``max_score`` on average.
      UserError: Unknown layout.
    """
    num_joints = get_layout(layout).num_joints
    parts = []
    for number, entry in enumerate(entries):
        try:
            parts.append(_parts(entry, layout, num_joints))
        except (ValueError, TypeError, OverflowError) as error:
            raise SkeletonError(f"{name}: entry {number}: {error}") from error
    if not parts:
        return []
    joints = np.stack([part.joints for part in parts])  # all at once, since this is a part of every build's time
    num_nan = _without_nan(joints, name)
    means = joints[..., 2].mean(axis=1).tolist()
    _scale_scores(joints, name, max_score)
    return [
        Detection(
            part.frame,
            part.idx,
            of_person,
            bounding_box(of_person) if part.box is None else part.box,
            mean if math.isnan(part.score) else part.score,
            count,
        )
        for part, of_person, mean, count in zip(parts, joints, means, num_nan, strict=True)
    ]


def _without_nan(joints: Float[np.ndarray, "N V 3"], name: str) -> list[int]:
    """Sets joints without a score, or with NaN, to zero, in place; returns how many of each entry are NaN."""
    num_nan = [0] * len(joints)
    if not np.isfinite(joints).all():
        if (infinite := np.isinf(joints).any(axis=(1, 2))).any():
            number = int(infinite.argmax())
            raise SkeletonError(f"{name}: entry {number}: keypoints: expected finite numbers, got infinity")
        is_nan = np.isnan(joints).any(axis=2)
        joints[is_nan] = 0
        num_nan = is_nan.sum(axis=1).tolist()
    joints[joints[..., 2] <= 0] = 0
    return num_nan


def _scale_scores(joints: Float[np.ndarray, "N V 3"], name: str, max_score: float) -> None:
    """Brings joint scores to [0, 1], in place. Raises SkeletonError for another scale."""
    scores = joints[..., 2]
    present = scores[scores > 0]
    if len(present) and present.mean() > 1.2 * max_score:
        num_joints = joints.shape[1]
        if joints.reshape(len(joints), -1)[:, -num_joints:].mean(axis=1).max() <= 1:
            raise SkeletonError(
                f"{name}: expected [x, y, score] for each joint, got what looks like all x, then all y, then all "
                "scores: write the numbers joint by joint"
            )
        raise SkeletonError(
            f"{name}: expected joint scores from 0 to {max_score:g}, got {present.mean():.3g} on average: import them "
            "with --max_score (100 for percentages)"
        )
    if max_score != 1 or scores.max() > 1:
        joints[..., 2] = np.minimum(scores / np.float32(max_score), 1)


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


class _Parts(NamedTuple):
    """An entry of the file: joints (V, 3) as they are; a score of NaN and a box of None are still to be found."""

    frame: int
    idx: float | None
    joints: np.ndarray
    box: Box | None
    score: float


def _parts(entry: Any, layout: str, num_joints: int) -> _Parts:
    """Reads an entry. Raises ValueError or TypeError, saying what was expected and what came."""
    if not isinstance(entry, dict):
        raise TypeError(f"expected an object, got {type(entry).__name__}")
    for field in ("image_id", "keypoints"):
        if field not in entry:
            raise ValueError(f"expected the field {field!r}, got {', '.join(map(repr, entry)) or 'none'}")
    try:
        joints = np.array(entry["keypoints"], np.float32).ravel()
    except (ValueError, TypeError, OverflowError):
        raise ValueError("keypoints: expected numbers [x, y, score] for each joint") from None
    if joints.size != 3 * num_joints:
        if not any((layout, joints.size) == (kept, 3 * count) for kept, count in EXTENDED_LAYOUTS.values()):
            raise ValueError(_wrong_count(layout, num_joints, joints.size))
        joints = joints[: 3 * num_joints]
    score = _score(entry)
    frame, idx = frame_number(entry["image_id"]), _idx(entry.get("idx"))
    return _Parts(frame, idx, joints.reshape(num_joints, 3), _box(entry), score)


def _wrong_count(layout: str, num_joints: int, num_values: int) -> str:
    if num_values == 2 * num_joints:
        return f"layout {layout} has {num_joints} joints of [x, y, score], got {num_values} numbers: add the scores"
    got = f"{num_values // 3}" if num_values % 3 == 0 else f"{num_values} numbers, not a multiple of 3"
    counts = [*((name, other.num_joints) for name, other in LAYOUTS.items()), *EXTENDED_LAYOUTS.values()]
    others = [name for name, count in counts if 3 * count == num_values]
    fix = f"skeleton_layout={others[0]!r}" if others else "the layout that the file has"
    return f"layout {layout} has {num_joints} joints, got {got}: declare {fix}"


def frame_number(image_id: Any) -> int:
    """The last number of an image's name (``clip_000012.jpg``), or the number itself. Raises ValueError."""
    if isinstance(image_id, str):
        number = _number_in_name(image_id)
    elif isinstance(image_id, bool) or not isinstance(image_id, int | float) or image_id != image_id // 1:
        raise ValueError(f"image_id: expected an image's name or a frame number, got {image_id!r:.60}")
    else:
        number = int(image_id)
    if not 0 <= number <= MAX_FRAME:
        raise ValueError(f"image_id: expected a frame number from 0 to {MAX_FRAME:,}, got {image_id!s:.60}")
    return number


def _number_in_name(image: str) -> int:
    if plain := _PLAIN_NAME.fullmatch(image):  # nearly always; the rest is slower
        return int(plain[1])
    numbers = re.findall(r"\d+", re.sub(r"\.[A-Za-z]\w*$", "", image))
    if not numbers:
        raise ValueError(f"image_id: expected a name with the frame's number, such as 000012.jpg, got {image!r}")
    return int(numbers[-1])


def _idx(idx: Any) -> float | None:
    """The tracker's number of a person: AlphaPose writes it as it is or in a (nested) list."""
    while isinstance(idx, list) and idx:
        idx = idx[0]
    return float(idx) if isinstance(idx, int | float) and not isinstance(idx, bool) else None


def _score(entry: dict[str, Any]) -> float:
    """The entry's score; NaN where it has none."""
    try:
        score = float(entry.get("score", math.nan))
    except (ValueError, TypeError, OverflowError):
        score = math.inf
    if math.isinf(score):
        raise ValueError(f"score: expected a finite number, got {entry['score']!r:.60}")
    return score


def _box(entry: dict[str, Any]) -> Box | None:
    """The entry's box; None where it has none or NaN."""
    if "box" not in entry:
        return None
    try:
        box = np.asarray(entry["box"], np.float64)
    except (ValueError, TypeError, OverflowError):
        box = np.empty(0)
    x, y, width, height = values = box.tolist() if box.shape == (4,) else [math.inf] * 4
    if any(map(math.isnan, values)):
        return None
    if not all(map(math.isfinite, values)) or min(width, height) < 0:
        raise ValueError(f"box: expected [x, y, width, height], got {entry['box']!r:.60}")
    return x, y, width, height


def _rounded(joints: np.ndarray) -> np.ndarray:
    """(V, 3) float64, rounded as in the files; absent joints are all zero."""
    joints = np.asarray(joints, np.float64)
    rounded = np.concatenate([joints[:, :2].round(2), joints[:, 2:].round(3).clip(0.001)], axis=-1)
    return np.where(joints[:, 2:] > 0, rounded, 0.0) + 0.0  # adding 0.0 turns -0.0 into 0.0
