"""2D skeletons: AlphaPose result files, and poses of a fixed number, size and place for the models.

The file format is AlphaPose's default one: a JSON list with one entry a person and frame,
``{"image_id": "000012.jpg", "category_id": 1, "keypoints": [x, y, score] * V, "score": s, "box": [x, y, w, h],
"idx": i}``. Frames are aligned by number (the last number in ``image_id``; the first frame is 0),
never by the order of the entries, since frames without a person are absent from the file. Results of other tools are
turned into this format by ``skeleton_files``.

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

from musclemap_jax.data.skeletons.person_linking import Detection, link_persons
from musclemap_jax.skeleton_layouts import LAYOUTS, REDUCED, get_layout
from musclemap_jax.storage.files import replace_text

TAIL_FRAMES = 2
"""Frames past the end of the video that are left out without complaint: decoders disagree about a last frame or two."""

_FAR = 4.0


class SkeletonError(ValueError):
    """A skeleton file of one clip is at fault: one line that names the file."""


def read_alphapose(path: str | Path, layout: str, num_frames: int) -> np.ndarray:
    """Reads the persons of one clip.

    Persons are linked over frames by ``idx``, by overlap of boxes where it is missing; see ``link_persons``.
    They are ordered by the sum over the clip of score
    times area of the box, largest first. Joint scores are clipped to [0, 1].

    Args:
      path: the JSON file.
      layout: name of the joint order that the raw data set declares.
      num_frames: T, frames of the video.

    Returns:
      (T, P, V, 3) float32: x, y in pixels of the original video, score; P is the number of persons found, 0 or more.

    Raises:
      SkeletonError: the file cannot be read, is not such a list, has joints of another layout or frames of another
        video.
      UserError: an unknown layout.
    """
    path = Path(path)
    num_joints = get_layout(layout).num_joints
    entries = read_json(path, _name(path))
    if not isinstance(entries, list):
        raise SkeletonError(
            f"{_name(path)}: expected a list of detections (AlphaPose's default format), got {type(entries).__name__}"
        )
    detections = parse_detections(entries, layout, _name(path))
    last = max((detection.frame for detection in detections), default=0)
    if last >= num_frames + TAIL_FRAMES:
        raise SkeletonError(
            f"{_name(path)}: expected frames 0 to {num_frames - 1} of the video, got frame {last}: another video's?"
        )
    detections = [detection for detection in detections if detection.frame < num_frames]

    persons = link_persons(detections)
    skeleton = np.zeros((num_frames, len(persons), num_joints, 3), np.float32)
    for place, person in enumerate(persons):
        for detection in person:
            skeleton[detection.frame, place] = detection.joints
    return skeleton


def read_json(path: Path, name: str) -> Any:
    """Content of a JSON file; ``name`` is what a SkeletonError calls it."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SkeletonError(f"{name}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SkeletonError(f"{name}: expected AlphaPose JSON, got a file that is not JSON: {error}") from error


def parse_detections(entries: Sequence[Any], layout: str, name: str) -> list[Detection]:
    """Detections of AlphaPose's entries, in their order; joint scores clipped to [0, 1].

    Args:
      entries: parsed JSON, one a person and frame. Entries of Halpe-136 are read as Halpe-26.
      layout: name of the entries' joint order.
      name: of the file, for the error.

    Raises:
      SkeletonError: naming the entry.
      UserError: an unknown layout.
    """
    num_joints = get_layout(layout).num_joints
    detections = []
    for number, entry in enumerate(entries):
        try:
            detections.append(_detection(entry, layout, num_joints))
        except (ValueError, TypeError, OverflowError) as error:
            raise SkeletonError(f"{name}: entry {number}: {error}") from error
    return detections


def write_alphapose(path: str | Path, skeleton: np.ndarray, scores: np.ndarray | None = None) -> None:
    """Writes a clip's persons in AlphaPose's format; the same input gives the same bytes.

    Places are rounded to 0.01 pixel, scores to 0.001. A person without a joint in a frame gets no entry there.

    Args:
      path: the JSON file to write.
      skeleton: (T, P, V, 3) x, y in pixels, score in [0, 1]; score 0 is an absent joint.
      scores: (T, P) score of each person and frame; by default the mean of the joints' scores.
    """
    skeleton = np.asarray(skeleton, np.float64)
    if scores is None:
        scores = skeleton[..., 2].mean(axis=-1)
    persons: list[list[Detection]] = [[] for _ in range(skeleton.shape[1])]
    for frame, person in np.argwhere((skeleton[..., 2] > 0).any(axis=-1)).tolist():
        joints = _rounded(skeleton[frame, person])
        persons[person].append(Detection(frame, None, joints, _box_round(joints), float(scores[frame, person])))
    write_persons(path, persons)


def write_persons(path: str | Path, persons: Sequence[Sequence[Detection]]) -> None:
    """Writes linked persons in AlphaPose's format, rounded as by ``write_alphapose``; boxes and scores are kept.

    Args:
      path: the JSON file to write.
      persons: each the detections of one person; their place, from 1, becomes their ``idx``.
    """
    entries = []
    for place, person in enumerate(persons, start=1):
        for frame, _, joints, box, score in person:
            entry = {
                "image_id": f"{frame:06d}.jpg",
                "category_id": 1,
                "keypoints": _rounded(joints).ravel().tolist(),
                "score": round(score, 3),
                "box": [round(value, 2) for value in box],
                "idx": place,
            }
            entries.append(((frame, place), entry))
    ordered = [entry for _, entry in sorted(entries, key=lambda keyed: keyed[0])]
    replace_text(epath.Path(path), json.dumps(ordered, separators=(",", ":")) + "\n")


def fixed_skeleton(skeleton: np.ndarray, times: np.ndarray, num_persons: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses of a fixed number of persons at given times.

    Between two frames a joint is interpolated linearly, score too; where it is present in one of them only, it is taken
    from that one if that is the nearer, else it is absent. The first persons are kept, missing ones are absent.

    Args:
      skeleton: (T, P_in, V, 3) x, y, score; T at least 1.
      times: (T_s,) times of the poses in frames, in [0, T - 1]; see `sampling.pose_times`.
      num_persons: P.

    Returns:
      poses (T_s, P, V, 3) float32 and pose_valid (T_s, P) bool: the person has a joint in that pose.
    """
    num_frames, found, num_joints, _ = skeleton.shape
    before = np.floor(times).astype(np.int64)
    after = np.minimum(before + 1, num_frames - 1)
    weight = (times - before).astype(np.float32)[:, None, None, None]

    kept = min(found, num_persons)
    first, second = skeleton[before, :kept], skeleton[after, :kept]
    both = (first[..., 2:] > 0) & (second[..., 2:] > 0)
    nearer = np.where(weight <= 0.5, first, second)
    sampled = np.where(both, first + weight * (second - first), nearer)

    poses = np.zeros((len(times), num_persons, num_joints, 3), np.float32)
    poses[:, :kept] = np.where(sampled[..., 2:] > 0, sampled, 0)
    return poses, (poses[..., 2] > 0).any(axis=-1)


def normalise(poses: np.ndarray, pose_valid: np.ndarray) -> np.ndarray:
    """Places relative to the person's centre and size, one of each a person and clip, so that motion is kept.

    The centre is the score-weighted median of x and of y over all joints and poses, the size the score-weighted mean
    distance from it; a distance above four times the median counts as that, so that a few joints that the detector put
    far off change little. Places are then about [-2.5, 2.5], y still downwards.

    Args:
      poses: (T_s, P, V, 3) x, y in pixels (square ones), score.
      pose_valid: (T_s, P) bool; poses that are False count for nothing and come out as zeros.

    Returns:
      (T_s, P, V, 3) float32 x, y normalised, score unchanged; absent joints all zero.
    """
    scores = np.where(pose_valid[..., None], poses[..., 2], 0)
    normalised = np.zeros(poses.shape, np.float32)
    for person in range(poses.shape[1]):
        weights = scores[:, person]
        total = weights.sum()
        if total <= 0:
            continue
        places = poses[:, person, :, :2]
        centre = np.array([_weighted_median(places[..., axis], weights) for axis in (0, 1)], np.float32)
        offsets = places - centre
        distances = np.hypot(offsets[..., 0], offsets[..., 1])
        distances = np.minimum(distances, _FAR * _weighted_median(distances, weights))
        size = float((distances * weights).sum() / total)
        # A person whose joints all lie in one point has no size; any positive one keeps the zeros zero.
        normalised[:, person, :, :2] = offsets / max(size, 1e-3)
        normalised[:, person, :, 2] = weights
    return np.where(normalised[..., 2:] > 0, normalised, 0)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    values, weights = values.ravel(), weights.ravel()
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order], dtype=np.float64)
    return float(values[order[np.searchsorted(cumulative, cumulative[-1] / 2)]])


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _detection(entry: Any, layout: str, num_joints: int) -> Detection:
    """One entry of the file. Raises ValueError or TypeError with what was expected and what came."""
    if not isinstance(entry, dict):
        raise TypeError(f"expected an object, got {type(entry).__name__}")
    for field in ("image_id", "keypoints"):
        if field not in entry:
            raise ValueError(f"expected the field {field!r}, got {', '.join(map(repr, entry)) or 'none'}")
    try:
        joints = np.asarray(entry["keypoints"], np.float32).ravel()
    except (ValueError, TypeError):
        raise ValueError("keypoints: expected numbers [x, y, score] for each joint") from None
    if any((layout, joints.size) == (kept, 3 * count) for kept, count in REDUCED.values()):
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
    got = f"{num_values // 3}" if num_values % 3 == 0 else f"{num_values} numbers, which is no multiple of 3"
    counts = {name: other.num_joints for name, other in LAYOUTS.items()} | dict(REDUCED.values())
    others = [name for name, count in counts.items() if 3 * count == num_values]
    mend = f"skeleton_layout={others[0]!r}" if others else "the layout that the file has"
    return f"layout {layout} has {num_joints} joints, got {got}: declare {mend}"


def frame_number(image_id: Any) -> int:
    """The last number of an image's name (``clip_000012.jpg``), or the number itself. Raises ValueError."""
    if isinstance(image_id, int) and not isinstance(image_id, bool):
        return _not_negative(image_id)
    stem = re.sub(r"\.[A-Za-z]\w*$", "", str(image_id))
    numbers = re.findall(r"\d+", stem)
    if not numbers:
        raise ValueError(f"image_id: expected a name with the frame's number, such as 000012.jpg, got {image_id!r}")
    return int(numbers[-1])


def _not_negative(number: int) -> int:
    if number < 0:
        raise ValueError(f"image_id: expected a frame number of at least 0, got {number}")
    return number


def _idx(idx: Any) -> float | None:
    """AlphaPose's trackers write a number or a (nested) list of one."""
    while isinstance(idx, list) and idx:
        idx = idx[0]
    return float(idx) if isinstance(idx, int | float) and not isinstance(idx, bool) else None


def _box(entry: dict[str, Any], joints: np.ndarray) -> tuple[float, float, float, float]:
    """The entry's box, or the one round its joints where it has none."""
    if "box" in entry:
        box = np.asarray(entry["box"], np.float64)
        values = tuple(box.ravel().tolist())
        if box.shape != (4,) or not all(map(math.isfinite, values)) or min(values[2:]) < 0:
            raise ValueError(f"box: expected [x, y, width, height], got {entry['box']!r:.60}")
        return values
    return _box_round(joints)


def _box_round(joints: np.ndarray) -> tuple[float, float, float, float]:
    """x, y, width, height of the box round the joints that are present."""
    places = joints[joints[:, 2] > 0, :2]
    if not len(places):
        return 0.0, 0.0, 0.0, 0.0
    low, high = places.min(axis=0), places.max(axis=0)
    return (*low.tolist(), *(high - low).tolist())


def _rounded(joints: np.ndarray) -> np.ndarray:
    """(V, 3) float64, rounded as files hold them; absent joints all zero."""
    joints = np.asarray(joints, np.float64)
    rounded = np.concatenate([joints[:, :2].round(2), joints[:, 2:].round(3).clip(0.001)], axis=-1)
    return np.where(joints[:, 2:] > 0, rounded, 0.0) + 0.0  # + 0.0 turns -0.0 into 0.0
