"""Joints of the persons in a video at a few frames a second, for what is found once the video has been read."""

from __future__ import annotations

from array import array

import numpy as np

from musclemap_jax.predict.prediction import FrameObserver, SeenFrame

RATE = 15.0
"""Frames a second that are kept, at most: 11 MB an hour and person of 17 joints."""


class JointTrack:
    """A `FrameObserver` that keeps joints, and passes the frames on.

    Attributes:
      joint_names: Names of the V joints; empty before the first frame.
    """

    def __init__(self, fps: float, on_frame: FrameObserver | None = None) -> None:
        """
        Args:
          fps: Frames per second of the video.
          on_frame: Called with every frame.
        """
        self.joint_names: tuple[str, ...] = ()
        self._stride = max(1, int(fps / RATE))
        self._on_frame = on_frame
        self._fps = fps
        self._num_frames = 0
        self._rows: dict[int, tuple[array, array]] = {}

    @property
    def fps(self) -> float:
        """Frames per second that are kept."""
        return self._fps / self._stride

    def __call__(self, frame: SeenFrame) -> None:
        if self._on_frame is not None:
            self._on_frame(frame)
        if frame.number % self._stride:
            return
        self.joint_names = tuple(frame.joint_names)
        self._num_frames = frame.number // self._stride + 1
        for number, joints in frame.persons.items():
            frames, values = self._rows.setdefault(number, (array("i"), array("f")))
            frames.append(frame.number // self._stride)
            values.frombytes(np.ascontiguousarray(joints, np.float32).tobytes())

    def joints(self, person: int | None = None) -> np.ndarray | None:
        """(T, V, 3) float32 joints of a person, absent ones score 0; None if they are not seen.

        Args:
          person: Their number; by default, whoever is seen in most frames.
        """
        if person is None and self._rows:
            person = max(self._rows, key=lambda number: len(self._rows[number][0]))
        if person is None or person not in self._rows:
            return None
        frames, values = self._rows[person]
        track = np.zeros((self._num_frames, len(self.joint_names), 3), np.float32)
        track[np.array(frames)] = np.array(values, np.float32).reshape(len(frames), -1, 3)
        return track
