"""The heat map of regions against time, as data of SVG paths.

The map is one unit high a region, and as wide as the video is long, in seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from musclemap_jax.predict.prediction import Prediction

MAX_COLUMNS = 240
"""Longer predictions are averaged over neighbouring windows, so that the page's size does not grow with the video."""

LEVELS = 20
_CELL, _MARK = 0.9, 0.14
"""Height of a cell and of the line at its foot that marks an active region."""

_TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_MAX_TICKS = 8
_LAST_TICK = 0.97
"""Fraction of the width after which a label would not fit."""


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The heat map.

    Attributes:
      shades: [(opacity in (0, 1], path)] of the cells with that probability, rounded to a twentieth.
      answered: Path of the columns with an answer, as high as the map.
      cells: Path of their cells.
      active: Path of the marks of active regions.
      seen: Path, one unit high, of the windows in which the person was seen, or anybody if none was chosen.
      windows_per_column: Windows averaged in one column.
      ticks: [(fraction of the width, label)] of the time axis.
    """

    shades: list[tuple[float, str]]
    answered: str
    cells: str
    active: str
    seen: str
    windows_per_column: int
    ticks: list[tuple[float, str]]


def timeline(prediction: Prediction, order: Sequence[int]) -> Timeline:
    """Draws the heat map.

    Args:
      prediction: What is drawn.
      order: Indices of the regions from top to bottom.
    """
    spans = window_spans(prediction.times_s)
    group = max(1, -(-len(spans) // MAX_COLUMNS))
    starts = _group_starts(spans, group)
    columns = np.stack([spans[starts, 0], spans[np.append(starts[1:], len(spans))[: len(starts)] - 1, 1]], axis=1)
    answered, probabilities, active = _columns(prediction, starts)
    levels = np.rint(np.nan_to_num(probabilities) * LEVELS).astype(int)
    shades = []
    for level in range(1, LEVELS + 1):
        path = _rectangles(levels[:, order] == level, columns, 0, _CELL)
        if path:
            shades.append((level / LEVELS, path))
    seen = [
        bool(numbers) if prediction.person is None else prediction.person in numbers for numbers in prediction.persons
    ]
    return Timeline(
        shades=shades,
        answered=_rectangles(answered[:, None], columns, 0, len(order)),
        cells=_rectangles(np.repeat(answered[:, None], len(order), axis=1), columns, 0, _CELL),
        active=_rectangles(active[:, order], columns, _CELL - _MARK, _MARK),
        seen=_rectangles(np.array(seen, bool)[:, None], spans, 0, 1),
        windows_per_column=group,
        ticks=ticks(prediction.duration_s),
    )


def window_spans(times_s: np.ndarray) -> np.ndarray:
    """(W, 2) start and end in seconds of each window's part of the axis: windows that overlap meet in the middle."""
    spans = times_s.copy()
    middles = times_s[:-1, 1] / 2 + times_s[1:, 0] / 2
    spans[:-1, 1] = np.minimum(times_s[:-1, 1], middles)
    spans[1:, 0] = np.maximum(times_s[1:, 0], middles)
    return spans


def ticks(duration_s: float) -> list[tuple[float, str]]:
    """(fraction of the duration, label) of at most about `_MAX_TICKS` round times."""
    step = next((step for step in _TICK_STEPS_S if duration_s / step <= _MAX_TICKS), None)
    if step is None:
        step = 3600 * int(np.ceil(duration_s / 3600 / _MAX_TICKS))
    times = [step * number for number in range(_MAX_TICKS + 1) if step * number <= _LAST_TICK * duration_s]
    labels = [f"{time:g} s" if duration_s < 60 else clock(time) for time in times]
    return [(time / max(duration_s, step), label) for time, label in zip(times, labels, strict=True)]


def clock(seconds: float) -> str:
    """A time as a player shows it, with tenths of a second where it has any: "0:07", "0:01.5", "1:02:30"."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    text = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{minutes}:{text}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{text}"


def _follows(spans: np.ndarray) -> np.ndarray:
    """(W,) bool: the span begins where the one before it ends; there are gaps where a person was not seen."""
    return np.append(False, spans[1:, 0] <= spans[:-1, 1] + 1e-6)[: len(spans)]


def _group_starts(spans: np.ndarray, size: int) -> np.ndarray:
    """Indices of the first windows of groups of at most `size` windows without a gap."""
    places = np.arange(len(spans))
    run_starts = np.maximum.accumulate(np.where(_follows(spans), 0, places))
    return np.flatnonzero((places - run_starts) % size == 0)


def _columns(prediction: Prediction, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """answered (C,), probabilities (C, K) and active (C, K) of groups of windows: means, and at least half active."""
    answered = prediction.answered
    if not len(starts):
        return answered, prediction.probabilities, prediction.active
    count = np.add.reduceat(answered.astype(int), starts)[:, None]
    weights = answered[:, None]
    total = np.add.reduceat(np.where(weights, prediction.probabilities, 0), starts)
    num_active = np.add.reduceat((prediction.active & weights).astype(int), starts)
    divisor = np.maximum(count, 1)
    return count[:, 0] > 0, total / divisor, (2 * num_active >= divisor) & (num_active > 0)


def _rectangles(cells: np.ndarray, spans: np.ndarray, top: float, height: float) -> str:
    """Path of rectangles over the True cells of (C, rows), neighbours in time joined."""
    pieces = []
    for row in range(cells.shape[1]):
        continues = cells[:, row] & np.append(False, cells[:-1, row])[: len(cells)] & _follows(spans)
        starts = np.flatnonzero(cells[:, row] & ~continues)
        ends = np.flatnonzero(cells[:, row] & ~np.append(continues[1:], False)[: len(cells)])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            left, right = spans[start, 0], spans[end, 1]
            pieces.append(f"M{left:.6g} {row + top:.6g}H{right:.6g}v{height:.6g}H{left:.6g}z")
    return "".join(pieces)
