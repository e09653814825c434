"""Reads one clip of a raw data set: what the builder's worker processes do.

Light on imports (no TFDS, no JAX), since every worker process imports it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.data.raw import flow, raw_dataset, video
from musclemap_jax.data.raw.manifest import LinkError, check_file
from musclemap_jax.data.skeletons.alphapose import SkeletonError, read_alphapose
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import get_layout
from tfds_musclemap.build.frame_encoder import FrameEncoder, encode_grey_jpeg
from tfds_musclemap.build.remote import local_clip

MODALITIES: tuple[str, ...] = ("rgb", "rgb_diff", "optical_flow", "skeleton")


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """How clips are read.

    Attributes:
      modalities: what is stored of a clip, some of MODALITIES.
      skeleton_layout: joint order of the raw data set's skeleton files, a name of ``skeleton_layouts.LAYOUTS``.
      require_skeleton: whether a clip without a person is rejected, where skeletons are stored; otherwise it gets one
        person, absent throughout.
      short_side: pixels of the stored frames' short side; smaller videos keep their size.
      jpeg_quality: 1 to 100.
      max_persons: persons kept a clip, the most prominent ones (score times box area over the clip).
      flow_method: how flow is estimated where the raw data set has none, one of ``flow.METHODS``.
      flow_bound: pixels a frame that 8-bit flow reaches to, also that of the raw data set's own flow files.
    """

    modalities: tuple[str, ...] = ("rgb", "skeleton")
    skeleton_layout: str = "coco17"
    require_skeleton: bool = True
    short_side: int = video.SHORT_SIDE_PX
    jpeg_quality: int = video.JPEG_QUALITY
    max_persons: int = 10
    flow_method: str = "dis"
    flow_bound: float = flow.BOUND_PX


@dataclasses.dataclass(frozen=True)
class ClipContent:
    """What is stored of a clip besides its annotations.

    Attributes:
      num_frames: T, at least one.
      size: (height, width) of the stored frames, or that they would have.
      fps: frames per second.
      features: by name, as `features.make_features` lists them: lists of T encoded images; ``flow_scale`` (2,) float32;
        ``skeleton`` (T, P, V, 3) float32, P >= 1: x, y in pixels of the stored frames, score; absent joints are zero.
    """

    num_frames: int
    size: tuple[int, int]
    fps: float
    features: dict[str, list[bytes] | np.ndarray]


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A clip that is at fault.

    Attributes:
      reason: one line that names the file.
    """

    reason: str


class _ClipError(ValueError):
    """A fault of one clip: a line that names the file."""


def read_clip(root: str, clip_id: str, settings: ClipSettings) -> ClipContent | Rejected:
    """Decodes a clip's video and reads its skeleton.

    Args:
      root: the raw data set's folder; a remote one (``gs://...``) is copied clip by clip.
      clip_id: the clip.
      settings: how to read it.

    Returns:
      The content, or why the clip is left out. The same files give the same bytes, on any worker.
    """
    try:
        with local_clip(root, clip_id) as local_root:
            return _read(local_root, clip_id, settings)
    except (_ClipError, video.VideoError, SkeletonError, OSError) as error:
        return Rejected(" ".join(str(error).split()))


def _read(root: Path, clip_id: str, settings: ClipSettings) -> ClipContent:
    # Before the video is decoded: the cheap questions first.
    video_path, skeleton_path = raw_dataset.video_path(root, clip_id), raw_dataset.skeleton_path(root, clip_id)
    stores_skeleton = "skeleton" in settings.modalities
    if stores_skeleton and settings.require_skeleton and not _is_there(skeleton_path):
        raise _ClipError(f"{_name(root, skeleton_path)}: no such file, and this build requires skeletons")
    flow_paths = _given_flow(root, clip_id) if "optical_flow" in settings.modalities else ()
    skeleton_paths = (skeleton_path,) if stores_skeleton and _is_there(skeleton_path) else ()
    _check_files(root, (video_path, *skeleton_paths, *flow_paths))

    estimates = "optical_flow" in settings.modalities and not flow_paths
    estimator = flow.make_estimator(settings.flow_method) if estimates else None
    encoder = FrameEncoder(settings.modalities, settings.jpeg_quality, settings.flow_bound, estimator)
    with _named(root, video_path):
        clip = video.read_video(video_path, settings.short_side, pixel_format="yuvj420p")
        for frame in clip.frames:
            encoder.add(frame)
    features: dict[str, list[bytes] | np.ndarray] = dict(encoder.streams)
    if flow_paths:
        features |= _read_flow(root, flow_paths, encoder.num_frames, clip.size, settings)
    elif estimator:
        features["flow_scale"] = np.full(2, flow.step_px(settings.flow_bound), np.float32)
    if stores_skeleton:
        features["skeleton"] = _read_skeleton(root, skeleton_path, encoder.num_frames, clip, settings)
    return ClipContent(num_frames=encoder.num_frames, size=clip.size, fps=clip.fps, features=features)


def _read_skeleton(root: Path, path: Path, num_frames: int, clip: video.Video, settings: ClipSettings) -> np.ndarray:
    """(T, P, V, 3) float32 in pixels of the stored frames."""
    num_joints = get_layout(settings.skeleton_layout).num_joints
    skeleton = np.zeros((num_frames, 0, num_joints, 3), np.float32)
    if _is_there(path):
        # A number too large for float32 becomes infinite, and is refused as such.
        with np.errstate(over="ignore"):
            skeleton = read_alphapose(path, settings.skeleton_layout, num_frames)
    if not skeleton.shape[1]:
        if settings.require_skeleton:
            raise _ClipError(f"{_name(root, path)}: no person in any frame, and this build requires skeletons")
        skeleton = np.zeros((num_frames, 1, num_joints, 3), np.float32)
    height_scale, width_scale = (new / old for new, old in zip(clip.size, clip.source_size, strict=True))
    scale = np.array([width_scale, height_scale, 1], np.float32)
    skeleton = np.ascontiguousarray(skeleton[:, : settings.max_persons] * scale[None, None, None])
    if not np.isfinite(skeleton).all():
        raise _ClipError(f"{_name(root, path)}: coordinates that are not finite")
    return skeleton


def _given_flow(root: Path, clip_id: str) -> tuple[Path, ...]:
    """The raw data set's two flow files, or none. Raises _ClipError where there is one only."""
    paths = flow.flow_paths(root, clip_id)
    missing = [path for path in paths if not _is_there(path)]
    if len(missing) == 1:
        raise _ClipError(f"{_name(root, missing[0])}: no such file, but the flow of the other direction is there")
    return () if missing else paths


def _read_flow(
    root: Path, paths: tuple[Path, ...], num_frames: int, size: tuple[int, int], settings: ClipSettings
) -> dict[str, list[bytes] | np.ndarray]:
    """The raw data set's own flow at the size of the stored frames; T - 1 frames get one without motion before them."""
    features: dict[str, list[bytes] | np.ndarray] = {}
    scale = []
    for axis, (name, path) in enumerate(zip(("flow_x", "flow_y"), paths, strict=True)):
        with _named(root, path):
            clip = video.read_video(path, settings.short_side, pixel_format="gray")
            images = [encode_grey_jpeg(_resized(frame, size), settings.jpeg_quality) for frame in clip.frames]
        if len(images) == num_frames - 1:
            images.insert(0, encode_grey_jpeg(np.full(size, flow.NO_MOTION, np.uint8), settings.jpeg_quality))
        if len(images) != num_frames:
            raise _ClipError(
                f"{_name(root, path)}: expected {num_frames} frames as the clip has, or one less, got {len(images)}"
            )
        features[name] = images
        side = 1 - axis  # x moves along the width
        scale.append(flow.step_px(settings.flow_bound) * size[side] / clip.source_size[side])
    return features | {"flow_scale": np.array(scale, np.float32)}


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image if image.shape == size else cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def _check_files(root: Path, paths: tuple[Path, ...]) -> None:
    """Raises _ClipError for a file that is absent, or lies where the raw data set may not read."""
    for path in paths:
        try:
            check_file(root, path)
        except LinkError as error:
            raise _ClipError(f"{_name(root, path)}: {error}") from error


@contextlib.contextmanager
def _named(root: Path, path: Path):
    """Puts the file's name before the reason why it is no video."""
    try:
        yield
    except video.VideoError as error:
        raise _ClipError(f"{_name(root, path)}: {error}") from error


def _is_there(path: Path) -> bool:
    """Whether there is a file, or a link, wherever it leads."""
    return path.is_symlink() or path.exists()


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def check_settings(settings: ClipSettings) -> None:
    """Raises UserError for settings that make no sense, or that need a package which is absent."""
    get_layout(settings.skeleton_layout)
    if not settings.modalities or not set(settings.modalities) <= set(MODALITIES):
        raise UserError(f"modalities: expected some of {', '.join(MODALITIES)}, got {settings.modalities}")
    ranges = {"short_side": (16, 4096), "jpeg_quality": (1, 100), "max_persons": (1, 100), "flow_bound": (1, 1000)}
    for name, (lowest, highest) in ranges.items():
        check_range(name, getattr(settings, name), lowest, highest)
    if "optical_flow" in settings.modalities:
        flow.make_estimator(settings.flow_method)


def check_range(name: str, value: float, lowest: float, highest: float) -> None:
    """Raises UserError unless lowest <= value <= highest."""
    if not lowest <= value <= highest:
        raise UserError(f"{name}: expected {lowest} to {highest}, got {value}")
