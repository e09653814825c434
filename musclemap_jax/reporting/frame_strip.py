"""A strip of video frames with the skeletons drawn on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from musclemap_jax.reporting.plots import INK, ORANGE, SKY, new_plot
from musclemap_jax.skeleton_layouts import bones

LEFT, RIGHT, MIDDLE = SKY, ORANGE, "white"
MIN_SCORE = 0.05
"""Joints with a lower score are not drawn."""
STRIP_WIDTH_PX = 1400


def plot_frame_strip(
    frames: NDArray[np.uint8], skeleton: NDArray | None = None, joint_names: Sequence[str] = (), max_frames: int = 6
) -> Figure:
    """Plots frames side by side with the skeletons on top: left limbs light blue, right limbs orange; no margins.

    Args:
      frames: (T, H, W, 3) uint8.
      skeleton: (T, P, V, 3) x and y in pixels of the frames, and score; None draws frames only.
      joint_names: V names.
      max_frames: Maximum number of frames shown, evenly spaced.

    Raises:
      ValueError: The shapes do not agree.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise ValueError(f"frames must have shape (T, H, W, 3), got {frames.shape}")
    shown = np.unique(np.linspace(0, len(frames) - 1, min(max_frames, len(frames))).round().astype(int))
    height, width = frames.shape[1:3]
    gap = max(2, width // 64)
    strip = np.full((height, len(shown) * (width + gap) - gap, 3), 255, np.uint8)
    lines, colours = [], []
    for i, t in enumerate(shown):
        offset = i * (width + gap)
        strip[:, offset : offset + width] = frames[t]
        if skeleton is not None:
            for ends, colour in _bone_lines(skeleton, joint_names, int(t), (height, width)):
                lines.append(ends + (offset, 0))
                colours.append(colour)
    inches = STRIP_WIDTH_PX / 100
    figure = new_plot(inches, inches * strip.shape[0] / strip.shape[1], dpi=100)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(strip, interpolation="lanczos", aspect="auto", extent=(0, strip.shape[1], strip.shape[0], 0))
    axes.set_axis_off()
    thickness = 0.016 * height * STRIP_WIDTH_PX / strip.shape[1] * 72 / 100
    # Dark lines below make an outline.
    for colour, scale in ((INK, 1.7), (colours, 1.0)):
        limbs = LineCollection(lines, colors=colour, linewidths=thickness * scale, capstyle="round")
        axes.add_collection(limbs, autolim=False)
    return figure


def _bone_lines(
    skeleton: NDArray, joint_names: Sequence[str], t: int, size: tuple[int, int]
) -> Iterator[tuple[NDArray, str]]:
    """Bones of one frame as (two ends (x, y), colour), cut at the frame's edges: the next frame is beyond."""
    if skeleton.ndim != 4 or skeleton.shape[2:] != (len(joint_names), 3) or t >= len(skeleton):
        raise ValueError(
            f"skeleton must have shape (T, P, {len(joint_names)}, 3) with a row for each frame, got {skeleton.shape}"
        )
    for joints in skeleton[t]:
        for a, b in bones(joint_names):
            ends = joints[[a, b]]
            if (ends[:, 2] < MIN_SCORE).any():
                continue
            inside = _clip_to_frame(*ends[:, :2].astype(float), size)
            if inside is not None:
                start, end = joint_names[a], joint_names[b]
                colour = LEFT if "left" in start and "right" not in end else RIGHT if "right" in start else MIDDLE
                yield inside, colour


def _clip_to_frame(start: NDArray, end: NDArray, size: tuple[int, int]) -> NDArray | None:
    """Ends of the part of a line inside a frame of (height, width) pixels (Liang-Barsky); None if all is outside."""
    low, high = 0.0, 1.0
    step = end - start
    for axis, limit in ((0, size[1]), (1, size[0])):
        for slope, distance in ((-step[axis], start[axis]), (step[axis], limit - start[axis])):
            if slope == 0:
                if distance < 0:
                    return None
            elif slope < 0:
                low = max(low, distance / slope)
            else:
                high = min(high, distance / slope)
    return None if low > high else np.stack([start + low * step, start + high * step])
