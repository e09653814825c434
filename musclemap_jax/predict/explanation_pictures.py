"""Pictures of an explanation: frames with the heat map on top, and with the joints by their importance.

Letters of shapes: T frames, H W pixels, T2 H2 W2 patches, P persons, V joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.data.modalities.fields import ClipRecord, text
from musclemap_jax.data.modalities.video import Video
from musclemap_jax.explain.explanation import Explanation
from musclemap_jax.predict.kept_windows import KeptWindow
from musclemap_jax.predict.skeleton_drawing import MIN_SCORE, OUTLINE
from musclemap_jax.skeleton_layouts import LAYOUTS, bones, convert

MAX_FRAMES = 6
SIDE_PX = 200
"""Height of a picture."""

FOR, AGAINST, BONE = (213, 94, 0), (0, 114, 178), (235, 238, 241)
"""RGB of joints that speak for and against the region, and of bones."""

_FRAMES = cast(str, Video.frames_field)
_DIMMED = 0.45
_COLOUR_MAP = cv2.COLORMAP_INFERNO
_LEAST_OPACITY, _OPACITY = 0.25, 0.5
_LEAST_RADIUS, _RADIUS = 0.012, 0.035
"""Of a joint without importance, and what the most important one has beyond; in picture heights."""

_BLANK_MARGIN = 0.1


def heat_pictures(explanation: Explanation, row: int, branch: str, window: KeptWindow) -> list[np.ndarray]:
    """Frames of the middle view with the heat map on top, its maximum in the window brightest.

    Args:
      explanation: The explanation.
      row: The explained window's row.
      branch: A branch of `explanation.heat`.
      window: What the model was shown of it.

    Returns:
      At most `MAX_FRAMES` uint8 (H, W, 3) RGB; none where the model was shown no frames of the video.
    """
    if _FRAMES not in window.record:
        return []
    view = explanation.heat[branch].shape[1] // 2
    heat = explanation.heat[branch][row, view]
    heat = heat / max(float(heat.max()), 1e-12)
    frames = explanation.frames[row, view]
    pictures = []
    for t in _spread(len(frames)):
        image = _cropped(_frame(window.record, frames[t] - window.start), explanation.boxes[view])
        of_frame = heat[t * len(heat) // len(frames)]
        large = np.clip(cv2.resize(of_frame, image.shape[1::-1], interpolation=cv2.INTER_CUBIC), 0, 1)
        colours = cv2.cvtColor(cv2.applyColorMap(np.rint(255 * large).astype(np.uint8), _COLOUR_MAP), cv2.COLOR_BGR2RGB)
        opacity = (_LEAST_OPACITY + _OPACITY * large)[..., None]
        pictures.append(np.rint(image * (1 - opacity) + colours * opacity).astype(np.uint8))
    return pictures


def joint_pictures(explanation: Explanation, row: int, window: KeptWindow) -> list[np.ndarray]:
    """Dimmed frames with the skeletons, each joint as large as it is important by occlusion.

    Orange joints speak for the region, blue ones against it. Where the model was shown no frames, the skeletons are on
    a plain ground.

    Args:
      explanation: The explanation.
      row: The explained window's row.
      window: What the model was shown of it.

    Returns:
      At most `MAX_FRAMES` uint8 (H, W, 3) RGB; none where nobody was seen.
    """
    importance = explanation.joint_occlusion[row]
    if not explanation.joint_names or np.isnan(importance).any():
        return []
    skeleton, layout = window.record["skeleton"], text(window.record["skeleton_layout"])
    joints = convert(skeleton, layout, _layout_of(explanation.joint_names))
    strength = importance / max(float(np.abs(importance).max()), 1e-12)
    has_frames = _FRAMES in window.record
    view = explanation.frames.shape[1] // 2
    frames = explanation.frames[row, view] - window.start if has_frames else np.arange(len(joints))
    pictures = []
    for frame in frames[_spread(len(frames))]:
        if has_frames:
            whole = _frame(window.record, frame)
            image = np.rint(_DIMMED * _cropped(whole, explanation.boxes[view])).astype(np.uint8)
            corner, scale = _crop_map(whole.shape[:2], explanation.boxes[view])
        else:
            image, corner, scale = _blank(joints)
        for person in joints[frame]:
            _draw(image, person, corner, scale, strength, explanation.joint_names)
        pictures.append(image)
    return pictures


def _spread(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, MAX_FRAMES)).round().astype(int))


def _frame(record: ClipRecord, number: int) -> np.ndarray:
    return decode_jpeg(record[_FRAMES][int(number)])


def _crop_map(size: Sequence[int], box: np.ndarray) -> tuple[np.ndarray, float]:
    """Left top corner (x, y) of a crop in pixels of the frame, and pixels of the picture in one of them."""
    top, left, bottom, _ = box * (size[0], size[1], size[0], size[1])
    return np.array([left, top]), SIDE_PX / (bottom - top)


def _cropped(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The crop, `SIDE_PX` high."""
    top, left, bottom, right = np.rint(box * np.tile(image.shape[:2], 2)).astype(int)
    width = round(SIDE_PX * (right - left) / (bottom - top))
    return cv2.resize(image[top:bottom, left:right], (width, SIDE_PX), interpolation=cv2.INTER_AREA)


def _blank(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A plain picture in which all joints (T, P, V, 3) have room, its left top corner and its scale."""
    places = joints[joints[..., 2] >= MIN_SCORE][:, :2]
    places = places if len(places) else np.zeros((1, 2))
    low, high = places.min(axis=0), places.max(axis=0)
    margin = _BLANK_MARGIN * max(float((high - low).max()), 1.0)
    width, height = high - low + 2 * margin
    scale = SIDE_PX / height
    shape = (SIDE_PX, int(np.clip(round(width * scale), 1, 3 * SIDE_PX)), 3)
    return np.full(shape, OUTLINE, np.uint8), low - margin, float(scale)


def _draw(
    image: np.ndarray,
    person: np.ndarray,
    corner: np.ndarray,
    scale: float,
    strength: np.ndarray,
    joint_names: Sequence[str],
) -> None:
    """Draws one person's joints (V, 3); `strength` (V,) is in [-1, 1]."""
    present = person[:, 2] >= MIN_SCORE
    places = np.clip(np.rint((person[:, :2] - corner) * scale), -(1 << 14), 1 << 14).astype(int)
    for a, b in bones(joint_names):
        if present[a] and present[b]:
            cv2.line(image, places[a].tolist(), places[b].tolist(), BONE, 1, cv2.LINE_AA)
    for v in np.argsort(np.abs(strength), kind="stable"):
        if present[v]:
            radius = round(SIDE_PX * (_LEAST_RADIUS + _RADIUS * abs(float(strength[v]))))
            colour = FOR if strength[v] > 0 else AGAINST
            cv2.circle(image, places[v].tolist(), radius + 1, OUTLINE, -1, cv2.LINE_AA)
            cv2.circle(image, places[v].tolist(), radius, colour, -1, cv2.LINE_AA)


def _layout_of(joint_names: Sequence[str]) -> str:
    return next(name for name, layout in LAYOUTS.items() if layout.joints == tuple(joint_names))
