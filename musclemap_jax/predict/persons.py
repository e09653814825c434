"""Who is seen in each frame: from a skeleton file, an array, a pose estimator, or nobody.

Every source gives detections in pixels of the video, with the number of the person as `idx`; numbers count from 1.

Letters of shapes: T frames, P persons, V joints.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from musclemap_jax.data.skeletons.detection import Detection, bounding_box
from musclemap_jax.data.skeletons.person_linking import PersonLinker
from musclemap_jax.errors import UserError
from musclemap_jax.pose.estimator import PoseEstimator
from musclemap_jax.predict.frames import FrameStream, SourceFrame
from musclemap_jax.skeleton_layouts import get_layout


class PersonSource(Protocol):
    """Finds the persons in the frames of one video, which come in order.

    Attributes:
      layout: Joint order of the detections.
      name: What found them, for reports.
      by_prominence: Whether the persons of a window come with the most prominent one first, as the builder orders
        those of a clip; otherwise in the order of their numbers.
    """

    layout: str
    name: str
    by_prominence: bool

    def find(self, number: int, frame: SourceFrame) -> list[Detection]:
        """Detections in frame `number`, each with the person's number as `idx`."""
        ...


class Nobody:
    """No persons, for models and videos that go without."""

    layout = "coco17"
    name = "none"
    by_prominence = True

    def find(self, number: int, frame: SourceFrame) -> list[Detection]:
        del number, frame
        return []


class GivenPersons:
    """Persons whose joints are known before the video is read."""

    def __init__(
        self, persons: Sequence[Sequence[Detection]], layout: str, name: str, by_prominence: bool = True
    ) -> None:
        """
        Args:
          persons: The detections of each person; the first one becomes number 1.
          layout: Joint order.
          name: Where they come from.
          by_prominence: As in `PersonSource`.
        """
        self.layout, self.name, self.by_prominence, self.persons = layout, name, by_prominence, persons
        self._by_frame: dict[int, list[Detection]] = defaultdict(list)
        for number, person in enumerate(persons, start=1):
            for detection in person:
                self._by_frame[detection.frame].append(detection._replace(idx=float(number)))

    def find(self, number: int, frame: SourceFrame) -> list[Detection]:
        found = self._by_frame.get(frame.number, [])
        return found if frame.number == number else [detection._replace(frame=number) for detection in found]


class EstimatedPersons:
    """Persons whom a pose estimator finds, followed from frame to frame."""

    by_prominence = True

    def __init__(self, estimator: PoseEstimator, stream: FrameStream):
        self.layout, self.name = estimator.layout, estimator.name
        self._estimator, self._stream = estimator, stream
        self._linker = PersonLinker()

    def find(self, number: int, frame: SourceFrame) -> list[Detection]:
        image = frame.pose_image
        assert image is not None, "the stream was opened without images for pose estimation"
        sizes = zip(self._stream.source_size, image.shape[:2], strict=True)
        height_scale, width_scale = (source / given for source, given in sizes)
        scale = np.array([width_scale, height_scale, 1], np.float32)[None]
        found = []
        for joints, score in self._estimator.detect(image, number / self._stream.fps):
            joints = joints * scale
            found.append(Detection(number, None, joints, bounding_box(joints), score))
        numbers = self._linker.link(found)
        return [detection._replace(idx=float(person)) for detection, person in zip(found, numbers, strict=True)]


def array_persons(skeleton: np.ndarray, layout: str, num_frames: int | None) -> GivenPersons:
    """Persons of an array, numbered in its order.

    Args:
      skeleton: (T, P, V, 3) x, y in pixels of the video, score in [0, 1]; score 0 is an absent joint.
      layout: Joint order, a name of `skeleton_layouts.LAYOUTS`.
      num_frames: T of the video where it is known.

    Raises:
      UserError: Another shape, or values that are not finite.
    """
    skeleton = np.asarray(skeleton, np.float32)
    num_joints = get_layout(layout).num_joints
    if skeleton.ndim != 4 or skeleton.shape[2:] != (num_joints, 3):
        raise UserError(
            f"skeleton: expected (T, P, {num_joints}, 3) of layout {layout}, got {skeleton.shape}: "
            "pass skeleton_layout= if the joints have another order"
        )
    if num_frames is not None and len(skeleton) != num_frames:
        raise UserError(f"skeleton: expected {num_frames} frames as the video has, got {len(skeleton)}")
    if not np.isfinite(skeleton).all():
        raise UserError("skeleton: expected finite numbers, got NaN or infinity")
    seen = np.any(skeleton[..., 2] > 0, axis=-1)

    def detection(frame: int, place: int) -> Detection:
        joints = skeleton[frame, place]
        return Detection(frame, None, joints, bounding_box(joints), float(joints[:, 2].mean()))

    persons = [
        [detection(frame, place) for frame in np.flatnonzero(seen[:, place]).tolist()]
        for place in range(skeleton.shape[1])
    ]
    return GivenPersons(persons, layout, "given", by_prominence=False)
