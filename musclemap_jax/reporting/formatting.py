"""Numbers as people read them, the same in console tables, plots and the report page."""

from __future__ import annotations

import math


def percent(fraction: float) -> str:
    """A fraction as a percentage with one decimal; an en dash for NaN."""
    return decimal(100 * fraction)


def percent_range(interval: tuple[float, float] | None) -> str:
    """An interval of fractions as percentages with one decimal; an en dash if there is none."""
    return "–" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"  # noqa: RUF001 - a dash is meant


def whole_percent(fraction: float) -> str:
    """A fraction as a percentage without decimals, with its sign and no line break before it; an en dash for NaN."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.0f}\u00a0%"  # noqa: RUF001 - a dash is meant


def percentage_points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign; an en dash for NaN."""
    return percent(difference) if math.isnan(difference) else f"{100 * difference:+.1f}"


def points_range(interval: tuple[float, float] | None) -> str:
    """An interval of differences in percentage points, with their signs; an en dash if there is none."""
    return "–" if interval is None else " to ".join(map(percentage_points, interval))  # noqa: RUF001 - a dash is meant


def decimal(number: float) -> str:
    """A number with one decimal; an en dash for NaN."""
    return "–" if math.isnan(number) else f"{number:.1f}"  # noqa: RUF001 - a dash is meant


def duration(seconds: float) -> str:
    """Seconds in readable units: "850 ms", "12.3 s", "4 min 05 s", "2 h 07 min"."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def six_decimals(number: float) -> str:
    """A number in a CSV file; empty for NaN."""
    return "" if math.isnan(number) else f"{number:.6f}"
