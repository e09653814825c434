"""The plots of a study, prepared for drawing: a line for each row and split, with ticks and a description in words.

In a plot of scores a line has a dot for each seed and a bar at their mean; in a plot of differences the mean and its
95 % interval.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from musclemap_jax.reporting.curves import Axis
from musclemap_jax.study.comparison import Comparison, RowScores
from musclemap_jax.study.tables import difference_text, score_text

WIDTH = 640
_RIGHT, _TOP, _BOTTOM = 12, 8, 30
_LANE, _GAP = 18, 12
"""Height of a line, and the space between the lines of two rows."""
_CHARACTER = 7.6
"""Width of a character of the labels, at least."""
_KINDS = ("val", "test")


@dataclasses.dataclass(frozen=True)
class Lane:
    """A row's values on one split; places are distances from the left.

    Attributes:
      split: Name of the split.
      height: Distance of the line from the top.
      dots: Place of each seed's value.
      mean: Place of the mean.
      low: Left end of the interval; NaN without one.
      high: Right end.
      text: The value in words.
    """

    split: str
    height: float
    dots: tuple[float, ...]
    mean: float
    low: float
    high: float
    text: str


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot of one kind of split.

    Attributes:
      name: Of its file.
      title: What is drawn.
      description: All values in words.
      left: Left end of the area of the values.
      height: Height of the plot.
      ticks: (place, text) along the axis.
      zero: Place of a difference of nothing; NaN in a plot of scores.
      labels: (distance from the top, name) of the rows.
      lanes: The lines.
    """

    name: str
    title: str
    description: str
    left: float
    height: float
    ticks: tuple[tuple[float, str], ...]
    zero: float
    labels: tuple[tuple[float, str], ...]
    lanes: tuple[Lane, ...]

    @property
    def bottom(self) -> float:
        """Lower end of the area of the values."""
        return self.height - _BOTTOM


@dataclasses.dataclass(frozen=True)
class _Value:
    """What a line shows, as fractions."""

    split: str
    values: tuple[float, ...]
    mean: float
    interval: tuple[float, float]
    text: str


def score_plots(comparison: Comparison, branch: str) -> list[Plot]:
    """The rows' scores on the splits of validation, and on those of test."""
    plots = []
    for kind in _KINDS:
        rows = [(row.name, _scores(row, branch, _splits(comparison, kind))) for row in comparison.shown_rows]
        plots += _plot(kind, f"mAP, {kind}, %", rows, is_difference=False)
    return plots


def difference_plots(comparison: Comparison, branch: str) -> list[Plot]:
    """The rows' differences from the reference on the splits of validation, and on those of test."""
    plots = []
    for kind in _KINDS:
        rows = [(row.name, _differences(row, branch, _splits(comparison, kind))) for row in comparison.shown_rows]
        title = f"Difference from {comparison.study.reference}, {kind}, points"
        plots += _plot(f"{kind}_difference", title, rows, is_difference=True)
    return plots


def _splits(comparison: Comparison, kind: str) -> list[str]:
    return [split for split in comparison.splits if split.startswith(kind) and not split.endswith("mean")]


def _scores(row: RowScores, branch: str, splits: Sequence[str]) -> list[_Value]:
    found = row.scores.get(branch, {})
    return [
        _Value(split, tuple(score.by_seed.values()), score.mean, (math.nan, math.nan), score_text(score))
        for split in splits
        if (score := found.get(split)) is not None and not math.isnan(score.mean)
    ]


def _differences(row: RowScores, branch: str, splits: Sequence[str]) -> list[_Value]:
    found = row.differences.get(branch, {})
    return [
        _Value(split, (), each.mean, each.interval or (math.nan, math.nan), difference_text(each))
        for split in splits
        if (each := found.get(split)) is not None and not math.isnan(each.mean)
    ]


def _plot(name: str, title: str, rows: Sequence[tuple[str, list[_Value]]], *, is_difference: bool) -> list[Plot]:
    """The plot of some rows; none if they have no values."""
    rows = [(row, values) for row, values in rows if values]
    if not rows:
        return []
    left = 16 + _CHARACTER * max(len(row) for row, _ in rows)
    axis = _axis([value for _, values in rows for value in values], left, is_difference)
    labels, lanes, words = [], [], []
    top = float(_TOP)
    for row, values in rows:
        labels.append((top + _LANE * len(values) / 2, row))
        for number, value in enumerate(values):
            low, high = map(float, axis.places(value.interval))
            height = top + _LANE * (number + 0.5)
            dots = tuple(map(float, axis.places(value.values)))
            lanes.append(Lane(value.split, height, dots, float(axis.places(value.mean)), low, high, value.text))
        words.append(f"{row}: {', '.join(f'{value.split} {value.text}' for value in values)}")
        top += _LANE * len(values) + _GAP
    return [
        Plot(
            name,
            title,
            f"{title}. {'; '.join(words)}",
            left,
            top - _GAP + _BOTTOM,
            axis.ticks(lambda value: f"{100 * value:.3g}"),
            float(axis.places(0.0)) if is_difference else math.nan,
            tuple(labels),
            tuple(lanes),
        )
    ]


def _axis(values: Sequence[_Value], left: float, is_difference: bool) -> Axis:
    """An axis on which all values are, in a plot of differences also 0."""
    every = [number for value in values for number in (*value.values, value.mean, *value.interval)]
    every = [number for number in every if not math.isnan(number)] + ([0.0] if is_difference else [])
    low, high = min(every), max(every)
    margin = 0.06 * (high - low) or 0.01
    return Axis(low - margin, high + margin, left, WIDTH - _RIGHT)
