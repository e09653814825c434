"""Whether skeletons belong to their videos: what a clip shows, judged clip by clip and over the whole data set.

Pose results are often of other images than the video that they are used with: of a larger original, at another frame
rate, numbered from 1, in normalised coordinates. Nothing of that is an error of the format, and a model trains on it
without a word. `clip_fault` names what cannot be for any one clip; `data_set_faults` what may happen in one clip, such
as a person who leaves, but not in most of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.skeleton_layouts import get_layout

_MIN_SIDE_PX = 16
_MIN_FRAMES = 16
"""Smaller frames and shorter clips say too little."""

_MIN_CLIPS = 5
"""Clips from which a pattern that one clip may show by chance is taken for one of the data set."""

_MIN_SEEN = 6
"""Fewer frames with a person may be at regular distances by chance."""

_CONFIDENT = 0.5
_OUTSIDE_CLIP, _OUTSIDE_DATA_SET = 0.5, 0.1
"""Largest fraction of confident joints outside of the frame: of a clip, and on average. Estimators guess joints a
little outside, and with low scores."""

_SIDEWAYS = 0.4
"""Largest fraction of clips in which people lie on their side: of rendered people 0, with x and y exchanged half."""


class Fault(NamedTuple):
    """Why skeletons cannot belong to their videos.

    Attributes:
      reason: What was found and what it may be, a question without its mark if there are options.
      options: Options of import_skeletons that read them as they are; empty if there are none.
    """

    reason: str
    options: str = ""

    def __str__(self) -> str:
        return f"{self.reason}? {self.options}" if self.options else self.reason


@dataclasses.dataclass(frozen=True)
class SkeletonEvidence:
    """What a clip's skeleton shows.

    Attributes:
      num_frames: T of the video; 0 if it is not known.
      fps: Frames per second of the video; 0 if not known.
      size: (height, width) of the video in pixels; None if not known.
      num_entries: Number of persons, summed over the frames.
      num_seen: Number of frames with a person.
      first: Number of the first frame with a person; 0 if there is none.
      last: Number of the last one.
      step: Greatest common divisor of the distances between frames with a person.
      low: Smallest coordinate.
      high: (x, y), the largest of each.
      outside: Fraction of the confident joints that lie outside of the frame.
      outside_transposed: The same if x and y were exchanged.
      sideways: Whether most persons lie on their side, with one shoulder above the other.
      num_nan: Number of joints that the file gives as NaN.
    """

    num_frames: int
    fps: float
    size: tuple[int, int] | None
    num_entries: int
    num_seen: int = 0
    first: int = 0
    last: int = 0
    step: int = 1
    low: float = 0.0
    high: tuple[float, float] = (0.0, 0.0)
    outside: float = 0.0
    outside_transposed: float = 0.0
    sideways: bool = False
    num_nan: int = 0


def evidence_of_detections(
    detections: Sequence[Detection],
    layout: str,
    num_frames: int = 0,
    fps: float = 0.0,
    size: tuple[int, int] | None = None,
) -> SkeletonEvidence:
    """Evidence of a clip's detections; joints are in pixels of the video, whose facts may be unknown."""
    joints = np.stack([detection.joints for detection in detections]) if detections else np.zeros((0, 1, 3))
    frames = np.array([detection.frame for detection in detections], np.int64)
    evidence = _evidence(frames, joints, layout, num_frames, fps, size)
    return dataclasses.replace(evidence, num_nan=sum(detection.num_nan for detection in detections))


def evidence_of_joints(
    skeleton: np.ndarray, layout: str, fps: float = 0.0, size: tuple[int, int] | None = None
) -> SkeletonEvidence:
    """Evidence of joints (T, P, V, 3) in pixels of frames of that (height, width)."""
    frames, persons = np.nonzero((skeleton[..., 2] > 0).any(axis=-1))
    return _evidence(frames, skeleton[frames, persons], layout, len(skeleton), fps, size)


def _evidence(
    frames: np.ndarray, joints: np.ndarray, layout: str, num_frames: int, fps: float, size: tuple[int, int] | None
) -> SkeletonEvidence:
    present = joints[..., 2] > 0
    if not present.any():
        return SkeletonEvidence(num_frames, fps, size, len(frames))
    places, scores = joints[present][:, :2], joints[present][:, 2]
    confident = places[scores >= min(_CONFIDENT, float(np.median(scores)))]
    outside, transposed = 0.0, 0.0
    if size is not None and min(size) >= _MIN_SIDE_PX:
        outside, transposed = (
            float(((confident < -1) | (confident > np.array(limits) + 1)).any(axis=-1).mean())
            for limits in (size[::-1], size)
        )
    seen = np.unique(frames)
    return SkeletonEvidence(
        num_frames,
        fps,
        size,
        num_entries=len(frames),
        num_seen=len(seen),
        first=int(frames.min()),
        last=int(frames.max()),
        step=int(np.gcd.reduce(np.diff(seen))) if len(seen) > 1 else 1,
        low=float(places.min()),
        high=(float(places[:, 0].max()), float(places[:, 1].max())),
        outside=outside,
        outside_transposed=transposed,
        sideways=_lie_sideways(joints, layout),
    )


def _lie_sideways(joints: np.ndarray, layout: str) -> bool:
    """Whether most trunks are horizontal with the shoulders one above the other: standing people, x and y exchanged."""
    names = get_layout(layout).joints
    parts = [names.index(f"{side}_{part}") for part in ("shoulder", "hip") for side in ("left", "right")]
    corners = joints[(joints[:, parts, 2] > 0).all(axis=-1)][:, parts, :2].astype(np.float64)
    if not len(corners):
        return False
    trunk = np.abs(corners[:, 2:].sum(axis=1) - corners[:, :2].sum(axis=1)) / 2
    shoulders = np.abs(corners[:, 0] - corners[:, 1])
    across = (shoulders[:, 1] > 2 * shoulders[:, 0]) & (shoulders[:, 1] > 0.3 * trunk[:, 0])
    return float(((trunk[:, 0] > 2 * trunk[:, 1]) & across).mean()) > 0.5


def clip_fault(evidence: SkeletonEvidence) -> Fault | None:
    """Why a clip's skeleton cannot belong to its video, whatever the video shows; None if it can."""
    if not evidence.num_seen:
        return None
    is_long = not 0 < evidence.num_frames < _MIN_FRAMES
    if is_long and evidence.num_seen == 1 and evidence.num_entries >= max(_MIN_FRAMES, evidence.num_frames) // 2:
        return Fault(
            f"all {evidence.num_entries} detections are in frame {evidence.first}: the last number in an image's name "
            "has to be the frame's, as in 000012.jpg"
        )
    large = evidence.size is None or min(evidence.size) >= _MIN_SIDE_PX
    if large and evidence.low >= -1 and max(evidence.high) <= 2:
        found = f"coordinates from {evidence.low:.3g} to {max(evidence.high):.3g}, expected pixels of the video"
        if evidence.low < -0.5:
            return Fault(f"{found}: scale them by its size")
        return Fault(f"{found}: normalised by the image's size", "--image_size=1x1")
    if evidence.num_frames and evidence.first == 1 and evidence.last == evidence.num_frames:
        return Fault(
            f"frames 1 to {evidence.last} of a video with the frames 0 to {evidence.num_frames - 1}: numbered from 1",
            "--first_frame=1",
        )
    if evidence.outside > _OUTSIDE_CLIP:
        return _outside_fault([evidence])
    return None


def data_set_faults(clips: Iterable[SkeletonEvidence]) -> list[Fault]:
    """Why the skeletons of a data set cannot belong to its videos, judged over all of its clips."""
    clips = [clip for clip in clips if clip.num_seen and clip.num_frames >= _MIN_FRAMES]
    faults = [_rate_fault(clips), _step_fault(clips), _first_frame_fault(clips)] if clips else []
    sized = [clip for clip in clips if clip.size is not None]
    if sized and np.mean([clip.outside for clip in sized]) > _OUTSIDE_DATA_SET:
        faults.append(_outside_fault(sized))
    elif len(clips) >= _MIN_CLIPS and np.mean([clip.sideways for clip in clips]) > _SIDEWAYS:
        faults.append(
            Fault(
                f"in {sum(clip.sideways for clip in clips)} of {len(clips)} clips people lie on their side: "
                "x and y exchanged, or poses of the videos without their rotation"
            )
        )
    return [fault for fault in faults if fault]


def _rate_fault(clips: Sequence[SkeletonEvidence]) -> Fault | None:
    """Skeletons that end long before or after most videos do."""
    ratios = np.array([(clip.last + 1) / clip.num_frames for clip in clips])
    ratio = float(np.median(ratios))
    spread = float(np.subtract(*np.percentile(ratios, (75, 25))))
    is_constant = len(clips) >= _MIN_CLIPS and ratio < 0.93 and spread < 0.02
    if 0.6 <= ratio <= 1.1 and not is_constant:
        return None
    rate = float(np.median([clip.fps * (clip.last + 1) / clip.num_frames for clip in clips]))
    options = f"--fps={round(rate)}" if rate >= 0.5 else ""
    return Fault(
        f"the skeletons end at {100 * ratio:.0f} % of their videos (median of {len(clips)} clips): "
        f"poses at another frame rate",
        options,
    )


def _step_fault(clips: Sequence[SkeletonEvidence]) -> Fault | None:
    """Poses of every k-th frame."""
    steps = [clip.step for clip in clips if clip.num_seen >= _MIN_SEEN]
    sparse = [step for step in steps if step > 1]
    if 2 * len(sparse) <= len(steps):
        return None
    step = int(np.median(sparse))
    return Fault(
        f"in {len(sparse)} of {len(steps)} clips no more than one in {step} frames has poses, at equal distances",
        f"--frame_step={step}",
    )


def _first_frame_fault(clips: Sequence[SkeletonEvidence]) -> Fault | None:
    """Frames numbered from 1: nobody in any first frame, and poses past the end."""
    from_one = sum(clip.first == 1 for clip in clips)
    if any(clip.first == 0 for clip in clips) or 2 * from_one < len(clips):
        return None
    if not any(clip.last >= clip.num_frames for clip in clips):
        return None
    return Fault(
        f"no clip has frame 0, {from_one} of {len(clips)} begin at frame 1: numbered from 1", "--first_frame=1"
    )


def _outside_fault(clips: Sequence[SkeletonEvidence]) -> Fault:
    outside, transposed = (
        float(np.mean([getattr(clip, name) for clip in clips])) for name in ("outside", "outside_transposed")
    )
    farthest = max(clips, key=lambda clip: max(np.array(clip.high) / np.array(clip.size)[::-1]))
    height, width = farthest.size or (0, 0)
    found = (
        f"{100 * outside:.0f} % of the joints lie outside of the frame (x up to {farthest.high[0]:.0f}, y up to "
        f"{farthest.high[1]:.0f} in {width}x{height} pixels)"
    )
    if transposed < outside / 4:
        return Fault(f"{found}: x and y exchanged, or poses of the video without its rotation")
    return Fault(f"{found}: poses of a larger original", "--image_size=WIDTHxHEIGHT")
