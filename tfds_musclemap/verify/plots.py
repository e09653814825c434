"""Plots of a prepared data set: one clip in four modalities, as the paper's Fig. 1, and its Fig. 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from musclemap_jax.data.images import decode_grey_jpeg, decode_jpeg, decode_png
from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.data.raw import flow
from musclemap_jax.eval.statistics import DataStatistics
from musclemap_jax.reporting.frame_strip import plot_frame_strip
from musclemap_jax.reporting.plots import INK, new_plot, plot_data_statistics, save_plot
from musclemap_jax.skeleton_layouts import get_layout
from tfds_musclemap.source import ClipSource
from tfds_musclemap.verify.prepared import Prepared

NUM_COLUMNS = 6
_NUM_CANDIDATES = 20
"""First clips of the data set, from which the one to plot is chosen."""

_DIFFERENCE_GAIN = 3
"""Factor on the brightness of differences, which are mostly dark."""


def write_plots(out: Path, folder: Path, prepared: Prepared, statistics: DataStatistics) -> None:
    """Writes ``regions.png`` and, if any clip of the data set in ``folder`` is without faults, ``modalities.png``.

    A clip that clips.csv does not list is not drawn. An empty data set has no plots.
    """
    if not prepared.clips:
        return
    save_plot(plot_data_statistics(statistics), out / "regions.png")
    sizes = {stored.clip.clip_id: stored.size for of_split in prepared.listed.values() for stored in of_split}
    sound = [clip for clip in prepared.clips if not clip.faults and clip.clip_id in sizes]
    if not sound:
        return
    split = sound[0].split
    candidates = [clip for clip in sound[:_NUM_CANDIDATES] if clip.split == split]
    chosen = max(candidates, key=lambda clip: clip.skeleton.seen_fraction if clip.skeleton else 0)
    index = [clip.clip_id for clip in prepared.clips if clip.split == split].index(chosen.clip_id)
    source = ClipSource(folder, split)
    save_plot(plot_modalities(source[index], sizes[chosen.clip_id], source.regions), out / "modalities.png")


def plot_modalities(record: ClipRecord, size: tuple[int, int], regions: Sequence[str]) -> Figure:
    """A clip's RGB, RGB difference, optical flow (hue: direction, saturation: speed) and 2D skeleton over time.

    Differences and flow that are not stored are computed from the frames, whose (height, width) is ``size``; rows
    without data are left out.
    """
    length = len(next(record[name] for name in ("frames", "rgb_diff", "flow_x", "skeleton") if name in record))
    columns = np.linspace(0, length - 1, NUM_COLUMNS + 1).round().astype(int)[1:]  # the first frame has no motion
    rows = {}
    if "frames" in record:
        rows["RGB"] = _strip([decode_jpeg(record["frames"][column]) for column in columns])
    differences = [_difference(record, column) for column in columns]
    if differences[0] is not None:
        rows["RGB difference"] = _strip([cv2.convertScaleAbs(image, alpha=_DIFFERENCE_GAIN) for image in differences])
    motions = [_motion(record, column) for column in columns]
    if motions[0] is not None:
        rows["optical flow"] = _strip(_coloured(np.stack(motions)))  # ty: ignore[no-matching-overload]  # all or none
    if "skeleton" in record:
        rows["2D skeleton"] = _skeleton_strip(record, columns, size)
    active = ", ".join(regions[index] for index in np.flatnonzero(record["muscles"])) or "no active region"
    return _draw(f"{record['activity']}: {active}", rows)


def _draw(title: str, rows: dict[str, np.ndarray]) -> Figure:
    width = 12.0
    heights = [width * strip.shape[0] / strip.shape[1] for strip in rows.values()]
    figure = new_plot(width, sum(heights) + 0.35 * len(rows) + 0.7, dpi=100)
    figure.suptitle(title, color=INK, fontsize=14, parse_math=False)
    all_axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, strip) in zip(all_axes, rows.items(), strict=True):
        axes.imshow(strip, interpolation="lanczos", aspect="auto")
        axes.set_title(name, loc="left", fontsize=11, color=INK)
        axes.set_axis_off()
    return figure


def _difference(record: ClipRecord, column: int) -> np.ndarray | None:
    if "rgb_diff" in record:
        return decode_png(record["rgb_diff"][column])
    if "frames" in record:
        return cv2.absdiff(*(decode_jpeg(record["frames"][index]) for index in (column, max(column - 1, 0))))
    return None


def _motion(record: ClipRecord, column: int) -> np.ndarray | None:
    """(H, W, 2) flow in pixels per frame."""
    if "flow_x" in record:
        values = np.stack([decode_grey_jpeg(record[name][column]) for name in ("flow_x", "flow_y")], axis=-1)
        return flow.decode_flow(values, record["flow_scale"])
    if "frames" in record:
        pair = [decode_jpeg(record["frames"][index]) for index in (max(column - 1, 0), column)]
        return flow.make_estimator("dis")(*(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair))
    return None


def _coloured(motions: np.ndarray) -> list[np.ndarray]:
    """Flow (T, H, W, 2) as RGB images: hue is direction, saturation is speed, full from the 99th percentile on."""
    speed, angle = np.hypot(motions[..., 0], motions[..., 1]), np.arctan2(motions[..., 1], motions[..., 0])
    full = max(float(np.percentile(speed, 99)), 0.5)
    hsv = np.empty((*speed.shape, 3), np.uint8)
    hsv[..., 0] = (angle + np.pi) / (2 * np.pi) * 179
    hsv[..., 1] = (speed / full).clip(0, 1) * 255
    hsv[..., 2] = 255
    return [cv2.cvtColor(image, cv2.COLOR_HSV2RGB) for image in hsv]


def _skeleton_strip(record: ClipRecord, columns: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    names = get_layout(record["skeleton_layout"]).joints
    canvas = np.full((len(columns), *size, 3), 40, np.uint8)
    figure = plot_frame_strip(canvas, record["skeleton"][columns], names, max_frames=len(columns))
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # ty: ignore[missing-attribute]  # of Agg


def _strip(images: list[np.ndarray]) -> np.ndarray:
    gap = np.full((images[0].shape[0], max(2, images[0].shape[1] // 64), 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)
