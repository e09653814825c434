"""A prediction as a table for the terminal: regions by probability, and when each is active."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator

import numpy as np

from musclemap_jax.predict.coach_text import coach_lines
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.sides import side_sentences

MAX_ROWS = 20
"""Regions that are shown beside the active ones."""

_MIN_WIDTH = 24
_NARROW = 60
"""Terminals with fewer columns get no bars."""

_BAR = 10


def muscle_table(prediction: Prediction, width: int) -> str:
    """The table, with a heading above, and below it which side moved more, the decision rule and warnings.

    Args:
      prediction: What to show. Probabilities are means over the windows with an answer.
      width: Columns of the terminal; lines are at most so long, unless a line would have no room for numbers.

    Returns:
      Lines of text, without a newline at the end.
    """
    width = max(width, _MIN_WIDTH)
    lines = _wrapped(_heading(prediction), width)
    if prediction.answered.any():
        lines += _rows(prediction, width)
    sides = side_sentences(prediction.limb_motion[prediction.answered])
    lines += [line for text in coach_lines(prediction.coaching) for line in _wrapped(text, width)]
    notes = [*sides, prediction.decision_rule, *(f"Warning: {warning}" for warning in prediction.warnings)]
    for note in filter(None, notes):
        lines += _wrapped(note, width)
    return "\n".join(lines)


def active_times(prediction: Prediction, region: int) -> list[tuple[float, float]]:
    """Start and end in seconds of the stretches in which a region is active; windows that touch are one."""
    spans: list[tuple[float, float]] = []
    for start, end in sorted(prediction.times_s[prediction.active[:, region]].tolist()):
        if spans and start <= spans[-1][1] + 1e-6:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _heading(prediction: Prediction) -> str:
    name = shown(prediction.source) or "frames"
    person = "" if prediction.person is None else f", person {prediction.person}"
    answered = prediction.answered
    if not answered.any():
        return f"{name}{person}: no answer in {prediction.duration_s:.1f} s"
    modalities = sorted(set(itertools.chain.from_iterable(prediction.modalities)), reverse=True)
    count = len(answered)
    windows = f"{count} window{'s' if count > 1 else ''}" if answered.all() else f"{answered.sum()} of {count} windows"
    return f"{name}{person}: {prediction.duration_s:.1f} s, {windows}, by {' and '.join(modalities)}"


def _rows(prediction: Prediction, width: int) -> Iterator[str]:
    means = prediction.mean_probabilities()
    order = np.argsort(-means, kind="stable").tolist()
    rows = [region for place, region in enumerate(order) if place < MAX_ROWS or prediction.active[:, region].any()]
    # Mark, name, percentage and what is between them; the times have what is left.
    longest = max(len("region"), *(len(prediction.regions[region]) for region in rows))
    name_width = min(longest, width - len("* ") - len("  100 %"))
    bar_width = _BAR + 2 if width >= _NARROW else 0
    times_width = width - len("* ") - name_width - len("  100 %") - bar_width - 2
    yield f"  {'region':<{name_width}}  prob.{'':<{bar_width}}{'  active' if times_width >= len('active') else ''}"
    for region in rows:
        name = shortened(prediction.regions[region], name_width)
        mark = "*" if prediction.active[:, region].any() else " "
        bar = f"  {'#' * round(_BAR * means[region]):<{_BAR}}" if bar_width else ""
        times = _times(prediction, region, times_width)
        yield f"{mark} {name:<{name_width}}  {100 * means[region]:3.0f} %{bar}{'  ' + times if times else ''}".rstrip()
    if len(rows) < len(order):
        yield from _wrapped(f"and {len(order) - len(rows)} other regions", width)


def _times(prediction: Prediction, region: int, width: int) -> str:
    """When a region is active, as exactly as the width allows."""
    spans = active_times(prediction, region)
    if not spans:
        return ""
    exact = ", ".join(f"{start:.1f}-{end:.1f}" for start, end in spans) + " s"
    count = f"{prediction.active[:, region].sum()} of {len(prediction.times_s)} windows"
    short = f"{100 * prediction.active_fraction()[region]:.0f} %"
    return next((text for text in (exact, count, short) if len(text) <= width), "")


def shortened(name: str, width: int) -> str:
    """A name in at most `width` columns."""
    return name if len(name) <= width else name[: width - 1] + "."


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ")
