"""A video in windows, each a record as the builder would have stored it of a clip; memory does not grow with the video.

Letters of shapes: L frames of a window, P persons, V joints, H W pixels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.data.modalities import stored_modalities
from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.data.modalities.modality import ClipSettings, ClipSize, Frame, RawClip
from musclemap_jax.data.modalities.skeleton import stored_joints
from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.data.skeletons.person_linking import joints_by_person, prominence
from musclemap_jax.errors import UserError
from musclemap_jax.predict.frames import FrameStream
from musclemap_jax.predict.persons import PersonSource
from musclemap_jax.predict.prediction import FrameObserver
from musclemap_jax.predict.sides import limb_motion
from musclemap_jax.skeleton_layouts import get_layout

MIN_FRAMES = 4
"""Fewer frames hold no movement."""

MIN_SEEN = 0.2
"""Fraction of a window's frames below which a person counts as passing by, or as the estimator's error."""


@dataclasses.dataclass(frozen=True)
class WatchedFrame:
    """A frame and who is seen in it; a `prediction.SeenFrame`.

    Attributes:
      number: The frame's number, from 0.
      time_s: Its time in seconds.
      stored: The frame as prepared data stores it.
      detections: The persons, joints in pixels of the video.
      joint_scale: (1, 3) from pixels of the video to those of the stored frame.
      joint_names: Names of the V joints.
    """

    number: int
    time_s: float
    stored: Frame
    detections: tuple[Detection, ...]
    joint_scale: np.ndarray
    joint_names: tuple[str, ...]

    @property
    def image(self) -> np.ndarray:
        """uint8 (H, W, 3) RGB at the stored size."""
        return decode_jpeg(self.stored.jpeg)

    @property
    def persons(self) -> Mapping[int, np.ndarray]:
        """{number of the person: (V, 3) joints in pixels of `image`}."""
        return {int(found.idx or 0): found.joints * self.joint_scale for found in self.detections}


@dataclasses.dataclass(frozen=True)
class Window:
    """A part of the video.

    Attributes:
      start: Number of its first frame.
      frames: Its L frames.
      stream: The video.
      spec: What the model takes.
      layout: Joint order of the detections.
      by_prominence: As in `persons.PersonSource`.
    """

    start: int
    frames: tuple[WatchedFrame, ...]
    stream: FrameStream
    spec: InputSpec
    layout: str
    by_prominence: bool

    @property
    def times_s(self) -> tuple[float, float]:
        """Start and end in seconds."""
        return self.start / self.stream.fps, (self.start + len(self.frames)) / self.stream.fps

    @functools.cached_property
    def persons(self) -> dict[int, list[Detection]]:
        """{number: detections} of all persons, in the order in which the model takes them."""
        detections = [found for frame in self.frames for found in frame.detections]
        numbers = sorted({int(found.idx or 0) for found in detections})
        persons = {number: [found for found in detections if found.idx == number] for number in numbers}
        if self.by_prominence:
            return dict(sorted(persons.items(), key=lambda item: prominence(item[1]), reverse=True))
        return persons

    @property
    def seen(self) -> tuple[int, ...]:
        """Numbers of the persons who are seen long enough to speak of, in the order of `persons`."""
        least = MIN_SEEN * len(self.frames)
        return tuple(number for number, person in self.persons.items() if len(person) >= least)

    def record(self, person: int | None = None) -> ClipRecord:
        """The window as a record of prepared data.

        Args:
          person: Number of the only person to keep; None keeps all.
        """
        settings = ClipSettings(tuple(self.spec.modalities), skeleton_layout=self.layout)
        skeleton = self._skeleton(person, settings.max_persons)
        record: ClipRecord = {
            "clip_id": self.stream.name,
            "muscles": np.zeros(self.spec.num_regions, np.uint8),
            "fps": self.stream.fps,
            "skeleton": stored_joints(skeleton, self._size),
            "skeleton_layout": self.layout,
        }
        return record | self._frame_fields

    def limb_motion(self, person: int | None = None) -> np.ndarray:
        """`sides.limb_motion` of the persons whom the model takes, or of `person`."""
        return limb_motion(
            self._skeleton(person, self.spec.num_persons), get_layout(self.layout).joints, self.stream.fps
        )

    def _skeleton(self, person: int | None, max_persons: int) -> np.ndarray:
        """(L, P, V, 3) joints in pixels of the video, of at most `max_persons` persons, or of one."""
        chosen = [joints for number, joints in self.persons.items() if person in (None, number)]
        return joints_by_person(chosen[:max_persons], len(self.frames), get_layout(self.layout).num_joints, self.start)

    @property
    def _size(self) -> ClipSize:
        return ClipSize(len(self.frames), self.stream.stored_size, self.stream.source_size)

    @functools.cached_property
    def _frame_fields(self) -> ClipRecord:
        """The fields of the modalities that are made of the frames, by the builder's own writers."""
        settings = ClipSettings(tuple(name for name in self.spec.modalities if name != "skeleton"))
        clip = RawClip(Path(), self.stream.name)
        writers = [modality.writer(clip, (), settings) for modality in stored_modalities(settings)]
        fields: ClipRecord = {}
        for writer in writers:
            for frame in self.frames:
                writer.add(frame.stored)
            fields |= writer.fields(self._size)
        return fields


def windows(
    stream: FrameStream,
    persons: PersonSource,
    spec: InputSpec,
    length_s: float,
    overlap: float = 0.0,
    on_frame: FrameObserver | None = None,
) -> Iterator[Window]:
    """Cuts a video into windows of equal length.

    The last one ends with the video, and so may overlap the one before more than asked for. A video that is shorter
    than a window is one window.

    Args:
      stream: The video.
      persons: Finds the persons in its frames.
      spec: What the model takes.
      length_s: Length of a window in seconds.
      overlap: Fraction of a window that the next one repeats, in [0, 1).
      on_frame: Called with every frame.

    Raises:
      UserError: An impossible length or overlap; from the iterator, a video that breaks or is too short.
    """
    if not 0 < length_s < np.inf or not 0 <= overlap < 1:
        raise UserError(f"windows: expected a length above 0 s and an overlap in [0, 1), got {length_s} and {overlap}")
    length = max(MIN_FRAMES, round(length_s * stream.fps))
    step = max(1, round(length * (1 - overlap)))
    return _windows(stream, persons, spec, length, step, on_frame)


def _windows(
    stream: FrameStream,
    persons: PersonSource,
    spec: InputSpec,
    length: int,
    step: int,
    on_frame: FrameObserver | None,
) -> Iterator[Window]:
    latest: deque[WatchedFrame] = deque(maxlen=length)
    scale = [stored / source for stored, source in zip(stream.stored_size, stream.source_size, strict=True)]
    joint_scale = np.array([[scale[1], scale[0], 1]], np.float32)
    joint_names = get_layout(persons.layout).joints
    count, covered = 0, 0

    def window() -> Window:
        return Window(count - len(latest), tuple(latest), stream, spec, persons.layout, persons.by_prominence)

    for frame in stream:
        detections = tuple(persons.find(count, frame))
        watched = WatchedFrame(count, count / stream.fps, frame.stored, detections, joint_scale, joint_names)
        latest.append(watched)
        if on_frame is not None:
            on_frame(watched)
        count += 1
        if count >= length and (count - length) % step == 0:
            yield window()
            covered = count
    if count < MIN_FRAMES:
        raise UserError(f"{stream.name or 'frames'}: expected at least {MIN_FRAMES} frames of movement, got {count}")
    if covered < count:
        yield window()
