"""Poses of one clip as a pose estimator gives them, converted to a raw data set's: units, layout and persons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musclemap_jax.data.skeletons.alphapose import ClipPoses, SkeletonError, parse_detections
from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.data.skeletons.evidence import (
    Fault,
    SkeletonEvidence,
    clip_fault,
    data_set_faults,
    evidence_of_detections,
)
from musclemap_jax.data.skeletons.person_linking import link_persons
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import EXTENDED_LAYOUTS, LAYOUTS, convert, get_layout
from tfds_musclemap.importing.pose_units import PoseUnits, VideoFacts, at_video_rate, in_video_units

INPUT_LAYOUTS = (*LAYOUTS, *EXTENDED_LAYOUTS)
"""Joint orders that results may have."""

MAX_PERSONS = 10


def stored_layout(layout: str) -> str:
    """The layout in which results of an input layout are stored: itself, or the one that it is reduced to.

    Raises UserError for an unknown layout.
    """
    return EXTENDED_LAYOUTS[layout][0] if layout in EXTENDED_LAYOUTS else get_layout(layout).name


def convert_persons(
    detections: Sequence[Detection], source_layout: str, target_layout: str, max_persons: int = MAX_PERSONS
) -> list[list[Detection]]:
    """Links one clip's detections to persons, keeps the most prominent ones, and converts their joints by name."""
    return [
        [detection._replace(joints=convert(detection.joints, source_layout, target_layout)) for detection in person]
        for person in link_persons(list(detections))[:max_persons]
    ]


class SkeletonConversion:
    """Converts results clip by clip, and judges them once all are read.

    Attributes:
      num_nan: Clip id -> the number of its joints that are NaN.
    """

    def __init__(self, source_layout: str, target_layout: str, units: PoseUnits, max_persons: int) -> None:
        """Raises UserError for a max_persons below 1."""
        if max_persons < 1:
            raise UserError(f"max_persons: expected at least 1, got {max_persons}: omit it for {MAX_PERSONS}")
        self.num_nan: dict[str, int] = {}
        self._layouts = source_layout, target_layout
        self._units, self._max_persons = units, max_persons
        self._evidence: list[SkeletonEvidence] = []
        self._fits_unscaled = units.image_size is not None

    def persons(self, clip_id: str, poses: ClipPoses, video: VideoFacts) -> list[list[Detection]]:
        """A clip's persons, in frames and pixels of its video. Raises SkeletonError."""
        source_layout, target_layout = self._layouts
        read = parse_detections(poses.entries, source_layout, clip_id, self._units.max_score)
        self.num_nan[clip_id] = sum(detection.num_nan for detection in read)
        self._fits_unscaled = self._fits_unscaled and self._lies_in_frame(read, video)
        detections = in_video_units(read, self._units, video, clip_id, poses.image_size)
        persons = convert_persons(detections, source_layout, target_layout, self._max_persons)
        fps = self._units.rate(video.fps)
        if fps is not None:
            persons = at_video_rate(persons, fps, video, clip_id)
            detections = [detection for person in persons for detection in person]
        layout = source_layout if fps is None else target_layout
        evidence = evidence_of_detections(detections, layout, video.num_frames, video.fps, video.size)
        self._evidence.append(evidence)
        if fault := clip_fault(evidence):
            raise SkeletonError(f"{clip_id}: {fault}")
        return persons

    def _lies_in_frame(self, detections: Sequence[Detection], video: VideoFacts) -> bool:
        """Whether poses of images that are larger than the video lie inside of the video's frame."""
        image_size = self._units.image_size
        if not detections or video.size is None or image_size is None or np.less_equal(image_size, video.size).any():
            return False
        high = np.max([detection.joints[:, :2].max(axis=0) for detection in detections], axis=0)
        return bool((high <= video.size[::-1]).all())

    def check_data_set(self, source: Path) -> None:
        """Raises UserError if the results do not seem to belong to the videos."""
        faults = data_set_faults(self._evidence)
        if self._fits_unscaled and self._evidence:
            faults.append(Fault("all poses lie inside of the videos' frames already: leave out --image_size"))
        if faults:
            raise UserError(
                f"{source}: not poses of the videos as they are: {'; '.join(map(str, faults))}; nothing was written "
                "(--force does it all the same)"
            )
