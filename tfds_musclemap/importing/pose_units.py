"""What the numbers in pose results refer to, and their conversion to frames and pixels of the videos."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import LinkError, check_file
from musclemap_jax.data.raw.video import VideoError, open_video
from musclemap_jax.data.skeletons.alphapose import SkeletonError
from musclemap_jax.data.skeletons.detection import Detection, bounding_box, scaled
from musclemap_jax.data.skeletons.person_linking import joints_by_person
from musclemap_jax.data.skeletons.poses import sample_poses
from musclemap_jax.errors import UserError

ImageSize = tuple[int, int]
"""(height, width) in pixels."""


@dataclasses.dataclass(frozen=True)
class PoseUnits:
    """What the numbers in pose results refer to; by default, to the videos themselves.

    Attributes:
      first_frame: Number of the first frame: 1 for images that FFmpeg wrote.
      fps: Frames per second of the images; None if they are the video's frames.
      frame_step: Distance between frames with poses: 2 for poses of every second frame; those between are interpolated.
      image_size: Size of the images; None if it is the video's, (1, 1) for normalised coordinates.
      max_score: The joint score of a sure joint.
    """

    first_frame: int = 0
    fps: float | None = None
    frame_step: int = 1
    image_size: ImageSize | None = None
    max_score: float = 1.0

    def __post_init__(self) -> None:
        """Raises UserError for a value out of its range."""
        if self.first_frame < 0:
            raise UserError(f"first_frame: expected a number of at least 0, got {self.first_frame}")
        if self.frame_step < 1:
            raise UserError(f"frame_step: expected a number of at least 1, got {self.frame_step}")
        for name in ("fps", "max_score"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise UserError(f"{name}: expected a number above 0, got {value}")

    def rate(self, video_fps: float) -> float | None:
        """Poses per second of a video with that frame rate, where it is not one per frame."""
        return None if self.fps is None and self.frame_step == 1 else (self.fps or video_fps) / self.frame_step


@dataclasses.dataclass(frozen=True)
class VideoFacts:
    """A video according to its header: T, which may be off a little, frames per second, size as a player shows it.

    The number and the rate, a mean if it is variable, are 0, and the size is None, where they are not known.
    """

    num_frames: int = 0
    fps: float = 0.0
    size: ImageSize | None = None
    has_variable_rate: bool = False


def parse_image_size(text: str) -> ImageSize:
    """(height, width) of a text such as 1920x1080, which gives the width first. Raises UserError for another text."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if not match:
        raise UserError(f"image_size: expected WIDTHxHEIGHT in pixels, such as 1920x1080, got {text!r}")
    return int(match[2]), int(match[1])


def video_facts(root: Path, clip_id: str) -> VideoFacts:
    """Facts about a clip's video in a raw data set; unknown if it cannot be read, which the builder reports."""
    try:
        path = raw_dataset.find_video(root, clip_id)
        check_file(root, path)
        video = open_video(path)
    except (LinkError, VideoError):
        return VideoFacts()
    return VideoFacts(video.expected_frames, video.fps, video.source_size, video.has_variable_rate)


def in_video_units(
    detections: Sequence[Detection], units: PoseUnits, video: VideoFacts, clip_id: str, image_size: ImageSize | None
) -> list[Detection]:
    """One clip's detections with poses numbered from 0, one after the other, and places in pixels of the video.

    Args:
      detections: The detections as read.
      units: What they refer to.
      video: The clip's video.
      clip_id: For errors.
      image_size: The size of this clip's images according to the results, which `units.image_size` replaces.

    Raises:
      SkeletonError: A frame before the first one or between two steps, a rate for a video of variable rate, or a video
        that cannot be read although its size is needed.
    """
    if units.fps is not None and video.has_variable_rate:
        raise SkeletonError(
            f"{clip_id}: the poses' frame rate is given, but the video's is variable: convert the video to a constant "
            "rate first (ffmpeg -i IN -fps_mode cfr OUT)"
        )
    if any(detection.frame < units.first_frame for detection in detections):
        raise SkeletonError(f"{clip_id}: expected frames numbered from {units.first_frame}, got an earlier one")
    between = [detection.frame for detection in detections if (detection.frame - units.first_frame) % units.frame_step]
    if between:
        raise SkeletonError(
            f"{clip_id}: expected poses of every {units.frame_step} frames, got some of frame {between[0]}"
        )
    image_size = units.image_size or image_size
    scale = (1.0, 1.0)
    if image_size is not None:
        if video.size is None:
            raise SkeletonError(
                f"{clip_id}: the images' size is given, but the video cannot be read to scale to its own"
            )
        scale = (video.size[1] / image_size[1], video.size[0] / image_size[0])
    factors = np.array([*scale, 1], np.float32)
    return [
        detection._replace(
            frame=(detection.frame - units.first_frame) // units.frame_step,
            joints=detection.joints * factors,
            box=scaled(detection.box, *scale),
        )
        for detection in detections
    ]


def at_video_rate(
    persons: Sequence[Sequence[Detection]], fps: float, video: VideoFacts, clip_id: str
) -> list[list[Detection]]:
    """Persons whose poses come at a rate, as they are in the frames of the video.

    Joints are interpolated as `poses.sample_poses` does; boxes and scores are those of the joints.

    Raises SkeletonError if the video cannot be read.
    """
    if not video.fps:
        raise SkeletonError(f"{clip_id}: the poses' frame rate is given, but the video cannot be read for its own")
    if not persons:
        return []
    num_images = 1 + max(person[-1].frame for person in persons)
    num_frames = round(num_images * video.fps / fps)
    if 0 < num_frames - video.num_frames <= 1 + video.fps / fps:  # the last image may stand for less than its time
        num_frames = video.num_frames or num_frames
    skeleton = joints_by_person([list(person) for person in persons], num_images, persons[0][0].joints.shape[0])
    times = np.minimum(np.arange(num_frames) * fps / video.fps, num_images - 1)
    poses = sample_poses(skeleton, times, len(persons))
    resampled: list[list[Detection]] = []
    for place in range(len(persons)):
        frames = np.flatnonzero((poses[:, place, :, 2] > 0).any(axis=-1)).tolist()
        joints = [poses[frame, place] for frame in frames]
        resampled.append(
            [
                Detection(frame, None, each, bounding_box(each), float(each[:, 2].mean()))
                for frame, each in zip(frames, joints, strict=True)
            ]
        )
    return [person for person in resampled if person]
