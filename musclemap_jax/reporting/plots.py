"""Plots of an evaluation, drawn with matplotlib's object interface: no pyplot, no global state, no display.

The colours are Okabe and Ito's, which people with the common colour vision deficiencies can distinguish; legends,
markers and labels repeat whatever a colour encodes. Names come from data sets, so no text is parsed as mathematics.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.statistics import KNOWN, NEW, DataStatistics
from musclemap_jax.reporting.formatting import percent

BLUE, VERMILION, SKY, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#56B4E9", "#E69F00", "#009E73", "#B5588B"
GREY, INK, GRID = "#8A8F98", "#1F2933", "#D9DEE4"
SPLIT_COLOURS = {"train": GREY, "val_known": SKY, "val_new": ORANGE, "test_known": BLUE, "test_new": VERMILION}
LINE_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, INK, GREY)
DPI = 160


def new_plot(width: float, height: float, dpi: int = DPI) -> Figure:
    """A blank figure of ``width`` by ``height`` inches with its own Agg canvas."""
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def image_bytes(plot: Figure, image_format: str = "png") -> bytes:
    """Renders a plot to "png" or "jpg"; equal plots give equal bytes."""
    buffer = io.BytesIO()
    options: Any = {"metadata": {"Software": None}} if image_format == "png" else {"pil_kwargs": {"quality": 88}}
    plot.savefig(buffer, format=image_format, **options)
    return buffer.getvalue()


def save_plot(plot: Figure, path: str | Path) -> None:
    """Writes a plot as PNG and creates the folder if it is absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image_bytes(plot))


def plot_region_ap(metrics: Metrics, splits: Sequence[str]) -> Figure:
    """Plots average precision per muscle region, one bar per split, with the stronger floor marked on each bar.

    The splits are drawn top to bottom. A region that is not above chance has a ▼; one that no clip shows has a note in
    place of its bar.

    Raises:
      ValueError: A split was not evaluated, or none is given.
    """
    if not splits or any(split not in metrics.splits for split in splits):
        raise ValueError(f"splits: expected some of {', '.join(metrics.splits)}, got {list(splits)}")
    num_regions = len(metrics.regions)
    figure = new_plot(11, 1.6 + 0.46 * num_regions * (0.5 + 0.25 * len(splits)))
    axes = figure.add_subplot()
    height = 0.8 / len(splits)
    for i, split in enumerate(splits):
        centres = np.arange(num_regions) + (i - (len(splits) - 1) / 2) * height
        _draw_region_bars(axes, metrics, split, centres, height, first=i == 0)
    _label_regions(axes, metrics.regions)
    axes.set_xlim(0, 1.08)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("average precision (in brackets: number of clips that show the region)", fontsize=12, color=INK)
    _clean(axes, grid_axis="x")
    figure.legend(loc="outside upper center", ncols=len(splits) + 2, frameon=False, fontsize=11)
    return figure


def _draw_region_bars(
    axes: Axes, metrics: Metrics, split: str, centres: np.ndarray, height: float, first: bool
) -> None:
    of_split, colour = metrics.splits[split], SPLIT_COLOURS.get(split, GREY)
    values, mean_ap, floors = np.array(of_split.average_precision), of_split.headline.mean_ap, of_split.chance
    label = f"{split}, mAP {percent(mean_ap)} % (dashed)"
    axes.barh(centres, np.nan_to_num(values), height * 0.92, color=colour, label=label)
    if not np.isnan(mean_ap):
        axes.axvline(mean_ap, color=colour, linestyle=(0, (5, 3)), linewidth=1.4, zorder=0.9)
    marks = np.array(floors), centres - height * 0.46, centres + height * 0.46
    axes.vlines(*marks, color="white", linewidth=4)
    axes.vlines(*marks, color=INK, linewidth=2.2, label="chance" if first else "_nolegend_")
    rows = zip(values, floors, centres, of_split.support, strict=True)
    for value, floor, centre, support in rows:
        if np.isnan(value):
            note = "no clip shows it"
        else:
            note = f"{'▼ ' if value <= floor else ''}{100 * value:.0f}  ({support})"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        # To the right of both the bar and the mark of chance, which it must not cover.
        right = np.nan_to_num(np.fmax(value, floor))
        axes.text(right + 0.012, centre, note, va="center", fontsize=10, color=INK, bbox=box)


def plot_data_statistics(statistics: DataStatistics) -> Figure:
    """Plots clips per muscle region, stacked by split, and known and new activities per region (the paper's Fig. 2)."""
    num_regions = len(statistics.regions)
    figure = new_plot(11, 1.6 + 0.34 * num_regions)
    left, right = figure.subplots(1, 2, sharey=True)
    rows = np.arange(num_regions)
    _draw_stack(left, rows, {name: split.clips_per_region for name, split in statistics.splits.items()}, SPLIT_COLOURS)
    left.set_title("clips that show the region", loc="left", fontsize=13, color=INK)
    _draw_stack(right, rows, statistics.activities_per_region, {KNOWN: BLUE, NEW: VERMILION})
    right.set_title("activities that use the region", loc="left", fontsize=13, color=INK)
    _label_regions(left, statistics.regions)
    for axes, columns in ((left, 3), (right, 2)):
        _clean(axes, grid_axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.margins(x=0.12)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.05), ncols=columns, frameon=False, fontsize=11)
    return figure


def _draw_stack(axes: Axes, rows: np.ndarray, parts: Mapping[str, Sequence[int]], colours: dict[str, str]) -> None:
    start = np.zeros(len(rows))
    for name, counts in parts.items():
        axes.barh(rows, counts, 0.74, left=start, color=colours[name], edgecolor="white", linewidth=0.6, label=name)
        start = start + np.array(counts)
    for row, total in zip(rows, start, strict=True):
        axes.annotate(f"{total:.0f}", (total, row), (4, 0), textcoords="offset points", va="center", fontsize=10)


def _label_regions(axes: Axes, regions: Sequence[str]) -> None:
    """Labels the rows with the regions, the first on top."""
    axes.set_yticks(np.arange(len(regions)), regions, parse_math=False)
    axes.set_ylim(len(regions) - 0.4, -0.6)


def _clean(axes: Axes, grid_axis: Literal["x", "y"]) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.grid(axis=grid_axis, color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=11, labelcolor=INK)
