"""Charts of an evaluation, drawn with matplotlib's object interface: no pyplot, no global state, no display.

Colours are those of Okabe and Ito, told apart with the common colour blindnesses; what a colour says, a legend, a
marker or a label says too.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.statistics import KNOWN, NEW, DataStatistics
from musclemap_jax.reporting.tables import percent
from musclemap_jax.storage.scalars import Series

BLUE, VERMILION, SKY, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#56B4E9", "#E69F00", "#009E73", "#B5588B"
GREY, INK, GRID = "#8A8F98", "#1F2933", "#D9DEE4"
SPLIT_COLOURS: dict[str, str] = {
    "train": GREY,
    "val_known": SKY,
    "val_new": ORANGE,
    "test_known": BLUE,
    "test_new": VERMILION,
}
LINE_COLOURS: tuple[str, ...] = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, INK, GREY)
MAX_LINES = 8
"""Curves in one panel; more could not be told apart."""
DPI = 160


def figure_bytes(figure: Figure, image_format: str = "png") -> bytes:
    """Renders a figure to "png" or "jpg"; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    options = {"metadata": {"Software": None}} if image_format == "png" else {"pil_kwargs": {"quality": 88}}
    figure.savefig(buffer, format=image_format, **options)
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure as png; makes the folder if it is absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(figure_bytes(figure))


def new_figure(width: float, height: float, dpi: int = DPI) -> Figure:
    """A blank figure with its own Agg canvas.

    Args:
      width: inches; a report shows about 100 pixels of text size an inch.
      height: inches.
      dpi: pixels an inch.
    """
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def per_region_figure(metrics: Metrics, splits: Sequence[str] = ("test_known", "test_new")) -> Figure:
    """Average precision per muscle region, one bar a split, with the floors marked on each bar.

    Args:
      metrics: the figures.
      splits: which of them to draw; those that were not evaluated are left out.

    Returns:
      The figure; a region without a positive has a note in the place of its bar.

    Raises:
      ValueError: when none of the splits was evaluated.
    """
    splits = [split for split in splits if split in metrics.splits]
    if not splits:
        raise ValueError(f"expected one of the evaluated splits {list(metrics.splits)}")
    num_regions = len(metrics.regions)
    figure = new_figure(11, 1.6 + 0.46 * num_regions * (0.5 + 0.25 * len(splits)))
    axes = figure.add_subplot()
    height = 0.8 / len(splits)
    for i, split in enumerate(splits):
        centres = np.arange(num_regions) + (i - (len(splits) - 1) / 2) * height
        _draw_region_bars(axes, metrics, split, centres, height, first=i == 0)
    axes.set_yticks(np.arange(num_regions), metrics.regions)
    axes.set_ylim(num_regions - 0.4, -0.6)
    axes.set_xlim(0, 1.08)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("average precision; in brackets, clips that show the region", fontsize=12, color=INK)
    _clean(axes, grid_axis="x")
    figure.legend(loc="outside upper center", ncols=len(splits) + 2, frameon=False, fontsize=11)
    return figure


def _draw_region_bars(
    axes: Axes, metrics: Metrics, split: str, centres: np.ndarray, height: float, first: bool
) -> None:
    figures, colour = metrics.splits[split], SPLIT_COLOURS.get(split, GREY)
    values = np.array(figures.average_precision)
    label = f"{split}, mAP {percent(figures.headline.mean_ap)} % (dashed)"
    axes.barh(centres, np.nan_to_num(values), height * 0.92, color=colour, label=label)
    if not np.isnan(figures.headline.mean_ap):
        axes.axvline(figures.headline.mean_ap, color=colour, linestyle=(0, (5, 3)), linewidth=1.4, zorder=0.9)
    half = height * 0.46
    ones, random = np.array(figures.all_ones_floor), np.array(figures.random_floor)
    axes.vlines(ones, centres - half, centres + half, color="white", linewidth=4)
    axes.vlines(ones, centres - half, centres + half, color=INK, linewidth=2.2, label="all ones" if first else None)
    axes.scatter(
        random, centres, s=20, facecolor="white", edgecolor=INK, zorder=3, label="random order" if first else None
    )
    for value, centre, support in zip(values, centres, figures.support, strict=True):
        note = "no clip shows it" if np.isnan(value) else f"{100 * value:.0f}  ({support})"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.text(np.nan_to_num(value) + 0.008, centre, note, va="center", fontsize=10, color=INK, bbox=box)


def training_curves_figure(scalars: Mapping[str, Series]) -> Figure | None:
    """The run's scalars over its steps: all losses in one panel, else a panel for each last part of a name.

    Long, noisy curves are drawn pale, with a moving average on top.

    Args:
      scalars: as ``scalars.read_scalars`` gives them.

    Returns:
      The figure; None when there is no finite value to draw.
    """
    panels: dict[str, dict[str, Series]] = {}
    for name, series in scalars.items():
        if np.isfinite(series.values).any():
            panels.setdefault(_panel_of(name), {})[name] = series
    if not panels:
        return None
    num_rows = -(-len(panels) // 2)
    figure = new_figure(11, 3.4 * num_rows)
    order = sorted(panels, key=lambda name: (name != "loss", name != "mAP"))
    for i, name in enumerate(order):
        _draw_panel(figure.add_subplot(num_rows, 2, i + 1), name, panels[name])
    return figure


def _panel_of(name: str) -> str:
    last = name.rsplit("/", 1)[-1]
    return "loss" if "loss" in last.lower() else last


def _draw_panel(axes: Axes, title: str, curves: Mapping[str, Series]) -> None:
    drawn = list(curves.items())[:MAX_LINES]
    for (name, (steps, values)), colour in zip(drawn, LINE_COLOURS, strict=False):
        if _is_noisy(values):
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
            axes.plot(steps, _moving_average(values, len(values) // 30), color=colour, linewidth=2, label=name)
        else:
            marker = "o" if len(steps) <= 20 else None
            axes.plot(steps, values, color=colour, linewidth=2, marker=marker, markersize=4.5, label=name)
    left_out = len(curves) - len(drawn)
    heading = f"{title} (and {left_out} more)" if left_out else title if len(curves) > 1 else drawn[0][0]
    axes.set_title(heading, loc="left", fontsize=13, color=INK, parse_math=False)
    axes.set_xlabel("step", fontsize=11, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    finite = np.concatenate([values[np.isfinite(values)] for _, (_, values) in drawn])
    if title == "loss" and finite.min() > 0 and finite.max() > 30 * finite.min():
        axes.set_yscale("log")
    if title == "mAP":
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _clean(axes, grid_axis="y")
    if len(drawn) > 1:
        for text in axes.legend(framealpha=0.8, edgecolor="none", fontsize=10).get_texts():
            text.set_parse_math(False)


def _is_noisy(values: np.ndarray) -> bool:
    """Whether a curve is long and goes up and down: a schedule must not be smoothed, its bends are real."""
    finite = values[np.isfinite(values)]
    return len(finite) > 60 and np.abs(np.diff(finite)).sum() > 4 * np.ptp(finite)


def _moving_average(values: np.ndarray, half_width: int) -> np.ndarray:
    """Mean of the finite values at most half_width steps away; NaN where there is none."""
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    at = np.arange(len(values))
    low, high = np.maximum(at - half_width, 0), np.minimum(at + half_width + 1, len(values))
    count = counts[high] - counts[low]
    return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1), np.nan)


def data_statistics_figure(statistics: DataStatistics) -> Figure:
    """Clips per muscle region, stacked by split, and activities per region, known and new (the paper's Fig. 2).

    Args:
      statistics: the counts.
    """
    num_regions = len(statistics.regions)
    figure = new_figure(11, 1.6 + 0.34 * num_regions)
    left, right = figure.subplots(1, 2, sharey=True)
    rows = np.arange(num_regions)
    clips = {split: np.array(of_split.clips_per_region) for split, of_split in statistics.splits.items()}
    _draw_stack(left, rows, clips, {split: SPLIT_COLOURS[split] for split in clips})
    left.set_title("clips that show the region", loc="left", fontsize=13, color=INK)
    activities = {kind: np.array(counts) for kind, counts in statistics.activities_per_region.items()}
    _draw_stack(right, rows, activities, {KNOWN: BLUE, NEW: VERMILION})
    right.set_title("activities that use the region", loc="left", fontsize=13, color=INK)
    left.set_yticks(rows, statistics.regions)
    left.set_ylim(num_regions - 0.4, -0.6)
    for axes in (left, right):
        _clean(axes, grid_axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.margins(x=0.12)
        columns = 3 if axes is left else 2
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.05), ncols=columns, frameon=False, fontsize=11)
    return figure


def _draw_stack(axes: Axes, rows: np.ndarray, parts: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> None:
    start = np.zeros(len(rows))
    for name, counts in parts.items():
        axes.barh(rows, counts, 0.74, left=start, color=colours[name], edgecolor="white", linewidth=0.6, label=name)
        start = start + counts
    for row, total in zip(rows, start, strict=True):
        axes.annotate(f"{total:.0f}", (total, row), (4, 0), textcoords="offset points", va="center", fontsize=10)


def _clean(axes: Axes, grid_axis: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.grid(axis=grid_axis, color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=11, labelcolor=INK)
