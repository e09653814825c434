"""The curves of a run, prepared for the page: panels of SVG paths with ticks, legends and a description in words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from musclemap_jax.reporting.formatting import percent
from musclemap_jax.storage.scalars import Series

SIZE = (400, 216)
"""Width and height of a panel in the units of its paths; the page scales it."""
AREA = (58, 10, 382, 190)
"""Left, top, right and bottom of the area of the curves."""
NUM_FIRST = 5
"""Panels that are shown; the others are folded."""
_FIRST = ("loss", "mAP", "branches", "gradient_norm", "learning_rate")
_BY_BRANCH = re.compile(r"val_new/mAP(_(?!above_)\w+)?")
_TITLES = {"mAP": "mAP on validation clips", "branches": "mAP on new activities, the model and its branches"}
_MAX_LINES = 8
_MAX_POINTS = 400


@dataclasses.dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`; by their logarithm if `is_log`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def places(self, values: ArrayLike) -> NDArray:
        """Where values are drawn."""
        scale = np.log if self.is_log else np.asarray
        low, high = scale(self.low), scale(self.high)
        return self.start + (scale(values) - low) / (high - low) * (self.end - self.start)

    def ticks(self, text: Callable[[float], str], integer: bool = False) -> tuple[tuple[float, str], ...]:
        """(place, text) of round values inside the axis."""
        if self.is_log:
            locator = LogLocator(subs=(1,) if self.high > 100 * self.low else (1, 2, 5))
        else:
            locator = MaxNLocator(4, integer=integer)
        slack = 1e-9 * (self.high - self.low)
        low, high = self.low - slack, self.high + slack
        values = [value for value in locator.tick_values(self.low, self.high) if low <= value <= high]
        return tuple((float(place), text(value)) for place, value in zip(self.places(values), values, strict=True))


@dataclasses.dataclass(frozen=True)
class Curve:
    """One scalar.

    Attributes:
      name: Its name, such as ``train/loss``.
      last: Its last finite value, as text.
      path: SVG path of the values, or of their moving average if they are noisy.
      pale: SVG path that is drawn pale: noisy values, or intervals; empty where there are none.
    """

    name: str
    last: str
    path: str
    pale: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """Curves over the same axes.

    Attributes:
      title: What is drawn.
      description: First and last value of each curve, in words.
      curves: The curves.
      steps: (place, text) of the ticks from left to right.
      values: (place, text) of the ticks from the bottom to the top.
    """

    title: str
    description: str
    curves: tuple[Curve, ...]
    steps: tuple[tuple[float, str], ...]
    values: tuple[tuple[float, str], ...]


def training_panels(scalars: Mapping[str, Series]) -> list[Panel]:
    """The scalars over the steps: losses in one panel, others grouped by the last part of the name.

    The panels that matter come first. Scalars without a finite value are left out.
    """
    groups: dict[str, dict[str, Series]] = {}
    for name, series in scalars.items():
        if np.isfinite(series.values).any():
            last = name.rsplit("/", 1)[-1]
            groups.setdefault("loss" if "loss" in last.lower() else last, {})[name] = series
            if _BY_BRANCH.fullmatch(name):
                groups.setdefault("branches", {})[name] = series
    if len(groups.get("branches", {})) < 2:
        groups.pop("branches", None)
    order = sorted(groups, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))
    return [_panel(name, groups[name]) for name in order]


def _panel(name: str, group: Mapping[str, Series]) -> Panel:
    drawn = dict(list(group.items())[:_MAX_LINES])
    across, upwards = _axes(name, drawn)
    text = percent if _is_score(name) else _number
    title = _TITLES.get(name, name if len(drawn) > 1 else next(iter(drawn)))
    title += ", %" if _is_score(name) else ""
    title += f" (and {len(group) - len(drawn)} more)" if len(group) > len(drawn) else ""
    curves, descriptions = [], []
    for curve, (steps, values) in drawn.items():
        finite = np.flatnonzero(np.isfinite(values))
        first, last = (f"{text(float(values[i]))} at step {steps[i]:,}" for i in finite[[0, -1]])
        descriptions.append(f"{curve} from {first} to {last}")
        is_noisy = _is_noisy(values)
        smooth = _moving_average(values, len(values) // 30) if is_noisy else values
        path, pale = (svg_path(across.places(steps), upwards.places(each)) for each in (smooth, values))
        curves.append(Curve(curve, text(float(values[finite[-1]])), path, pale if is_noisy else ""))
    description = f"{title}: {'; '.join(descriptions)}"
    tick_text = _whole_percent if text is percent else _number
    return Panel(title, description, tuple(curves), across.ticks(_number, integer=True), upwards.ticks(tick_text))


def _axes(name: str, drawn: Mapping[str, Series]) -> tuple[Axis, Axis]:
    """The axes of the steps and of the values."""
    left, top, right, bottom = AREA
    steps = np.concatenate([series.steps for series in drawn.values()])
    values = np.concatenate([series.values[np.isfinite(series.values)] for series in drawn.values()])
    low, high = float(values.min()), float(values.max())
    is_log = name == "loss" and low > 0 and high > 30 * low
    if _is_score(name):
        low, high = min(low, 0.0), max(high, 1.0)
    elif not is_log:
        margin = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
        low, high = (0.0 if 0 <= low < margin * 4 else low - margin), high + margin
    last = max(float(steps.max()), float(steps.min()) + 1)
    return Axis(float(steps.min()), last, left, right), Axis(low, high, bottom, top, is_log)


def _is_score(name: str) -> bool:
    return name == "branches" or "AP" in name


def _whole_percent(value: float) -> str:
    return f"{100 * value:.3g}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.3g}"


def svg_path(across: NDArray, upwards: NDArray) -> str:
    """An SVG path through the points with finite values, interrupted where there are others.

    Of long curves, parts of equal length are drawn by their extremes.
    """
    finite = np.isfinite(upwards)
    num_parts = len(upwards) if len(upwards) <= _MAX_POINTS else _MAX_POINTS // 2
    commands, pen_is_down = [], False
    for part in np.array_split(np.arange(len(upwards)), num_parts):
        inside = part[finite[part]]
        if len(inside):
            for i in sorted({int(inside[upwards[inside].argmin()]), int(inside[upwards[inside].argmax()])}):
                commands.append(f"{'L' if pen_is_down else 'M'}{across[i]:.1f} {upwards[i]:.1f}")
                pen_is_down = True
        if not finite[part].all():
            pen_is_down = False
    return "".join(commands)


def _is_noisy(values: NDArray) -> bool:
    """Whether a curve is long and fluctuates; the bends of a schedule are real and must not be smoothed."""
    finite = values[np.isfinite(values)]
    return len(finite) > 60 and np.abs(np.diff(finite)).sum() > 4 * np.ptp(finite)


def _moving_average(values: NDArray, half_width: int) -> NDArray:
    """Mean of the finite values at most half_width entries away; NaN where there is none."""
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    at = np.arange(len(values))
    low, high = np.maximum(at - half_width, 0), np.minimum(at + half_width + 1, len(values))
    count = counts[high] - counts[low]
    return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1), np.nan)
