"""2D skeletons: stored in pixels of the stored frames; in a batch, normalised poses over the clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from musclemap_jax.data.affine import move_joints
from musclemap_jax.data.augmentation import augment_poses, flip_poses
from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.modalities.fields import Array, ClipRecord, Field, Text, field_of, text
from musclemap_jax.data.modalities.modality import (
    BatchModality,
    ClipDraw,
    ClipError,
    ClipSettings,
    ClipSize,
    ClipWriter,
    RawClip,
)
from musclemap_jax.data.raw.manifest import Manifest
from musclemap_jax.data.raw.raw_dataset import skeleton_path
from musclemap_jax.data.sampling import pose_times
from musclemap_jax.data.skeletons.alphapose import SkeletonError, read_alphapose
from musclemap_jax.data.skeletons.poses import normalise_poses, sample_poses
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import convert, get_layout


class Skeleton(BatchModality):
    """Joints of the most prominent persons: x, y, score."""

    name = "skeleton"

    def raw_files(self, clip: RawClip) -> tuple[Path, ...]:
        return (skeleton_path(clip.root, clip.clip_id),)

    def find_files(self, clip: RawClip, settings: ClipSettings) -> tuple[Path, ...]:
        found = super().find_files(clip, settings)
        if settings.require_skeleton and not found:
            (path,) = self.raw_files(clip)
            raise ClipError(f"{clip.name(path)}: no such file, and this build requires skeletons")
        return found

    def check_manifest(self, manifest: Manifest, path: Path, settings: ClipSettings) -> None:
        if manifest.skeleton_layout not in (None, settings.skeleton_layout):
            raise UserError(
                f"{path}: expected skeletons in layout {settings.skeleton_layout}, which this build is for, got "
                f"{manifest.skeleton_layout}: build with skeleton_layout={manifest.skeleton_layout!r}"
            )

    def fields(self, settings: ClipSettings) -> dict[str, Field]:
        num_joints = get_layout(settings.skeleton_layout).num_joints
        joints = Array((None, None, num_joints, 3), "float32", compressed=True)
        return {"skeleton": joints, "skeleton_layout": Text()}

    def writer(self, clip: RawClip, files: tuple[Path, ...], settings: ClipSettings) -> ClipWriter:
        return _JointsWriter(clip, files, settings)

    def arrays(self, spec: InputSpec, num_rows: int, num_padding: int, num_views: int) -> dict[str, np.ndarray]:
        poses = (num_rows, spec.num_poses, spec.num_persons)
        return {
            "skeleton": np.zeros((*poses, get_layout(spec.layout).num_joints, 3), np.float32),
            "skeleton_valid": np.zeros(poses, np.bool_),
        }

    def write(self, batch: Batch, row: int, record: ClipRecord, spec: InputSpec, draw: ClipDraw) -> None:
        """Poses over the whole clip, or with a generator over a random stretch of it.

        Joints follow the geometric operations on the images, whose size and place normalisation takes out again.
        """
        skeleton = convert(field_of(record, "skeleton"), text(field_of(record, "skeleton_layout")), spec.layout)
        times = pose_times(len(skeleton), spec.num_poses, spec.augmentation.pose_span, draw.rng)
        poses = sample_poses(skeleton, times, spec.num_persons)
        if maps := draw.affine_maps(spec.crop_size):
            poses = move_joints(poses, maps[1])
        poses = normalise_poses(poses)
        if draw.flip:
            poses = flip_poses(poses, get_layout(spec.layout).flip)
        if draw.rng is not None:
            poses = augment_poses(poses, spec.augmentation, draw.rng)
        batch["skeleton"][row] = poses
        batch["skeleton_valid"][row] = (poses[..., 2] > 0).any(axis=-1)


class _JointsWriter(ClipWriter):
    def __init__(self, clip: RawClip, files: tuple[Path, ...], settings: ClipSettings):
        self._clip = clip
        self._files = files
        self._settings = settings

    def fields(self, size: ClipSize) -> ClipRecord:
        """The skeleton is (T, P, V, 3) float32 in pixels of the stored frames, P at least 1."""
        settings = self._settings
        nobody = np.zeros((size.num_frames, 1, get_layout(settings.skeleton_layout).num_joints, 3), np.float32)
        skeleton, name = nobody[:, :0], ""
        for path in self._files:
            name = self._clip.name(path)
            try:
                # A number too large for float32 becomes infinite, and is refused as such.
                with np.errstate(over="ignore"):
                    skeleton = read_alphapose(
                        path, settings.skeleton_layout, size.num_source_frames, size.source, size.shown is not None
                    )
            except SkeletonError as error:
                raise ClipError(str(error)) from error
            if size.shown is not None:
                skeleton = skeleton[list(size.shown)]
        if not skeleton.shape[1]:
            if settings.require_skeleton:
                raise ClipError(f"{name}: no person in any frame, and this build requires skeletons")
            skeleton = nobody
        skeleton = stored_joints(skeleton[:, : settings.max_persons], size)
        if not np.isfinite(skeleton).all():
            raise ClipError(f"{name}: coordinates that are not finite")
        return {"skeleton": skeleton, "skeleton_layout": settings.skeleton_layout}


def stored_joints(skeleton: np.ndarray, size: ClipSize) -> np.ndarray:
    """Joints (T, P, V, 3) in pixels of the video, as they are stored: in pixels of the stored frames."""
    height_scale, width_scale = (new / old for new, old in zip(size.stored, size.source, strict=True))
    scale = np.array([width_scale, height_scale, 1], np.float32)
    return np.ascontiguousarray(skeleton * scale[None, None, None])
