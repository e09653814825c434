"""Joints of all persons and frames of a video, kept for drawing: 212 bytes for 17 joints of one person."""

from __future__ import annotations

import bisect
from array import array

import numpy as np

from musclemap_jax.predict.prediction import SeenFrame


class JointStore:
    """A `FrameObserver` that keeps the joints.

    Attributes:
      joint_names: Names of the V joints; empty before the first frame.
      image_size: (height, width) of the images whose pixels the joints are in.
    """

    def __init__(self) -> None:
        self.joint_names: tuple[str, ...] = ()
        self.image_size = (0, 0)
        self._frames = array("i")
        self._persons = array("i")
        self._joints = array("f")

    def __call__(self, frame: SeenFrame) -> None:
        if self.image_size == (0, 0):
            self.joint_names = frame.joint_names
            self.image_size = (frame.image.shape[0], frame.image.shape[1])
        for person, joints in frame.persons.items():
            self._frames.append(frame.number)
            self._persons.append(person)
            self._joints.frombytes(np.ascontiguousarray(joints, np.float32).tobytes())

    def persons_of(self, frame_number: int) -> dict[int, np.ndarray]:
        """{number of the person: (V, 3) float32 joints} of a frame."""
        first = bisect.bisect_left(self._frames, frame_number)
        last = bisect.bisect_right(self._frames, frame_number)
        num_joints = len(self.joint_names)
        rows = np.array(self._joints[3 * num_joints * first : 3 * num_joints * last], np.float32)
        rows = rows.reshape(last - first, num_joints, 3)
        return dict(zip(self._persons[first:last], rows, strict=True))

    def fraction_inside(self, box: tuple[float, float, float, float], person: int | None = None) -> float:
        """Fraction of the joints in all frames that lie in a box; 0 if nobody was seen.

        Args:
          box: Left, top, right and bottom, as fractions of the image's width and height.
          person: Number of the person whose joints count; None for everybody's.
        """
        joints = np.array(self._joints, np.float32).reshape(-1, max(len(self.joint_names), 1), 3)
        if person is not None:
            joints = joints[np.array(self._persons) == person]
        places = joints[joints[..., 2] > 0][:, :2] / np.maximum(self.image_size[::-1], 1)
        inside = ((places >= box[:2]) & (places < box[2:])).all(axis=-1)
        return float(inside.mean()) if len(inside) else 0.0
