"""The video with skeletons, body map and bars drawn into each frame: a second pass, in constant memory.

Frames keep the rate and the size of the video, up to 1080 pixels of the short side, with rotation applied; one row or
column is cut where a size is odd. A variable frame rate becomes its mean, by time. Sound is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from musclemap_jax.data.raw.video import encode_video, read_video
from musclemap_jax.predict.joint_store import JointStore
from musclemap_jax.predict.panel import draw_panel, panel_layout
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.shading import shading
from musclemap_jax.predict.skeleton_drawing import draw_persons
from musclemap_jax.predict.timeline import window_spans
from musclemap_jax.storage.files import UNFINISHED

SHORT_SIDE_PX = 1080


def annotate_video(
    video_path: str | Path,
    out_path: str | Path,
    prediction: Prediction,
    joints: JointStore,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Writes the annotated video as an H.264 mp4 file; nothing is left behind if it fails.

    Args:
      video_path: The video that was predicted.
      out_path: The file to write; an old one is replaced when the new one is complete.
      prediction: What the model says. If it is about one person, the skeletons of others are grey.
      joints: What observed the video while it was read.
      progress: Called with the number of frames drawn so far, after each.

    Raises:
      VideoError: The video cannot be read to its end.
    """
    out_path = Path(out_path)
    unfinished = out_path.with_name(out_path.name + UNFINISHED)
    video = read_video(video_path, SHORT_SIDE_PX)
    frames = _annotated(cast(Iterator[np.ndarray], video.frames), video.size, video.fps, prediction, joints, progress)
    try:
        encode_video(unfinished, frames, video.fps, faststart=True)
        unfinished.replace(out_path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _annotated(
    frames: Iterator[np.ndarray],
    size: tuple[int, int],
    fps: float,
    prediction: Prediction,
    joints: JointStore,
    progress: Callable[[int], None] | None,
) -> Iterator[np.ndarray]:
    height, width = (side // 2 * 2 for side in size)
    panel = _Panel((height, width), prediction, joints)
    scale = size[0] / joints.image_size[0] if joints.image_size[0] else 1.0
    for number, frame in enumerate(frames):
        image = np.ascontiguousarray(frame[:height, :width])
        draw_persons(image, joints.persons_of(number), joints.joint_names, prediction.person, scale)
        panel.draw(image, (number + 0.5) / fps)
        yield image
        if progress is not None:
            progress(number + 1)


class _Panel:
    """The panel, in the corner where it hides least of the person; drawn once a window."""

    def __init__(self, size: tuple[int, int], prediction: Prediction, joints: JointStore):
        self._prediction = prediction
        self._spans = window_spans(prediction.times_s)
        self._order = np.argsort(-np.nan_to_num(prediction.mean_probabilities()), kind="stable").tolist()
        self._layout = panel_layout(size, prediction.regions)
        height, width = self._layout.size
        corners = [(left, top) for top in (0, size[0] - height) for left in (size[1] - width, 0)]
        left, top = min(corners, key=lambda corner: _hidden(joints, prediction.person, corner, (height, width), size))
        self._place = slice(top, top + height), slice(left, left + width)
        self._window: int | None = None
        self._colour = self._keep = np.zeros((height, width, 3), np.uint8)

    def draw(self, image: np.ndarray, time_s: float) -> None:
        """Draws the panel of the window at a time, or that of no answer, into an image, which it changes."""
        window = int(np.searchsorted(self._spans[:, 0], time_s, side="right")) - 1
        if window >= 0 and time_s > self._spans[window, 1]:
            window = -1  # the person is not seen
        if window != self._window:
            self._window = window
            self._render(window)
        part = image[self._place]
        image[self._place] = cv2.add(cv2.multiply(part, self._keep, scale=1 / 255), self._colour)

    def _render(self, window: int) -> None:
        panel = draw_panel(self._layout, shading(self._prediction, window), self._order)
        opacity = np.repeat(panel[..., 3:], 3, axis=-1)
        self._colour = cv2.multiply(panel[..., :3], opacity, scale=1 / 255)
        self._keep = 255 - opacity


def _hidden(
    joints: JointStore,
    person: int | None,
    corner: tuple[int, int],
    panel_size: tuple[int, int],
    frame_size: tuple[int, int],
) -> float:
    """Fraction of the person's joints that a panel with its top left corner at (x, y) hides."""
    (left, top), (height, width), (frame_height, frame_width) = corner, panel_size, frame_size
    box = (left / frame_width, top / frame_height, (left + width) / frame_width, (top + height) / frame_height)
    return joints.fraction_inside(box, person)
