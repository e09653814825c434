"""Reads one clip of a distribution: what the builder's worker processes do.

Light on imports (no TFDS, no JAX), since every worker process imports it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from musclemap_jax.data import distribution, video
from musclemap_jax.data.skeleton import SkeletonError, read_alphapose
from musclemap_jax.skeleton_layouts import get_layout


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """How clips are read.

    Attributes:
      skeleton_layout: joint order of the distribution's skeleton files, a name of ``skeleton_layouts.LAYOUTS``.
      require_skeleton: whether a clip without a person is rejected; otherwise it gets one person, absent throughout.
      short_side: pixels of the stored frames' short side; smaller videos keep their size.
      jpeg_quality: 1 to 100.
      max_persons: persons kept a clip, the most prominent ones (score times box area over the clip).
    """

    skeleton_layout: str = "coco17"
    require_skeleton: bool = True
    short_side: int = video.SHORT_SIDE_PX
    jpeg_quality: int = video.JPEG_QUALITY
    max_persons: int = 10


@dataclasses.dataclass(frozen=True)
class ClipContent:
    """What is stored of a clip besides its annotations.

    Attributes:
      frames: JPEG bytes, in order of time, at least one.
      fps: frames per second.
      skeleton: (T, P, V, 3) float32, P >= 1: x, y in pixels of the stored frames, score; absent joints are zero.
    """

    frames: list[bytes]
    fps: float
    skeleton: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A clip that is at fault.

    Attributes:
      reason: one line that names the file.
    """

    reason: str


def read_clip(root: str, clip_id: str, settings: ClipSettings) -> ClipContent | Rejected:
    """Decodes a clip's video and reads its skeleton.

    Args:
      root: the distribution's folder.
      clip_id: the clip.
      settings: how to read it.

    Returns:
      The content, or why the clip is left out. The same files give the same bytes, on any worker.
    """
    try:
        return _read(Path(root), clip_id, settings)
    except (video.VideoError, SkeletonError, OSError) as error:
        return Rejected(" ".join(str(error).split()))


def _read(root: Path, clip_id: str, settings: ClipSettings) -> ClipContent | Rejected:
    video_file = f"{distribution.CLIPS}/{clip_id}.mp4"
    skeleton_file = f"{distribution.SKELETONS}/{clip_id}.json"
    skeleton_path = distribution.skeleton_path(root, clip_id)
    # Before the video is decoded: the cheap question first.
    has_skeleton = skeleton_path.exists()
    if settings.require_skeleton and not has_skeleton:
        return Rejected(f"{skeleton_file}: no such file, and this build requires skeletons")
    try:
        clip = video.read_video(distribution.video_path(root, clip_id), settings.short_side)
        frames = [video.encode_jpeg(frame, settings.jpeg_quality) for frame in clip.frames]
    except video.VideoError as error:
        return Rejected(f"{video_file}: {error}")

    num_joints = get_layout(settings.skeleton_layout).num_joints
    skeleton = np.zeros((len(frames), 0, num_joints, 3), np.float32)
    if has_skeleton:
        skeleton = read_alphapose(skeleton_path, settings.skeleton_layout, len(frames))
    if not skeleton.shape[1]:
        if settings.require_skeleton:
            return Rejected(f"{skeleton_file}: no person in any frame, and this build requires skeletons")
        skeleton = np.zeros((len(frames), 1, num_joints, 3), np.float32)
    height_scale, width_scale = (new / old for new, old in zip(clip.size, clip.source_size, strict=True))
    scale = np.array([width_scale, height_scale, 1], np.float32)
    skeleton = np.ascontiguousarray(skeleton[:, : settings.max_persons] * scale[None, None, None])
    if not np.isfinite(skeleton).all():
        return Rejected(f"{skeleton_file}: coordinates that are not finite")
    return ClipContent(frames=frames, fps=clip.fps, skeleton=skeleton)
