"""The newest answer in the terminal, with its age: redrawn in place, or a line an answer where it is no terminal."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from typing import Self, TextIO

import numpy as np

from musclemap_jax.predict.live.session import Live, LiveAnswer
from musclemap_jax.predict.muscle_table import shortened

MAX_ROWS = 8
"""Regions that are shown, the most probable first."""

_REDRAW_S = 0.2
_BAR = 20
_CLEAR_LINE = "\x1b[K"


class Display:
    """A context manager that shows answers; in a terminal, the age is kept up to date until the next answer."""

    def __init__(self, live: Live, out: TextIO) -> None:
        self._live, self._out = live, out
        self._newest: LiveAnswer | None = None
        self._num_lines = 0
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._keep_drawing, daemon=True) if out.isatty() else None

    def __enter__(self) -> Self:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stops.set()
        if self._thread:
            self._thread.join()

    def show(self, newest: LiveAnswer) -> None:
        """Shows an answer, until the next one comes."""
        self._newest = newest
        if not self._thread:
            print(answer_line(newest, newest.answered_at, self._live.dropped), file=self._out, flush=True)

    def _keep_drawing(self) -> None:
        while not self._stops.wait(_REDRAW_S):
            self._draw()
        self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns
        heading = f"{self._live.name}: filming the first {self._live.model.window_s:.1f} s"
        lines = [heading[: width - 1]]
        if self._newest is not None:
            lines = answer_lines(self._newest, time.monotonic(), self._live.dropped, width)
        up = f"\x1b[{self._num_lines}F" if self._num_lines else ""
        with contextlib.suppress(OSError):  # a terminal that is gone
            self._out.write(up + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines))
            self._out.flush()
        self._num_lines = len(lines)


def answer_line(newest: LiveAnswer, now: float, dropped: int) -> str:
    """An answer in one line: the window's times, its active regions, age and number of dropped frames."""
    prediction = newest.prediction
    probabilities, active = prediction.probabilities[0], prediction.active[0]
    order = [region for region in np.argsort(-probabilities, kind="stable").tolist() if active[region]]
    named = [f"{prediction.regions[region]} {100 * probabilities[region]:.0f} %" for region in order[:MAX_ROWS]]
    if len(order) > MAX_ROWS:
        named.append(f"{len(order) - MAX_ROWS} more")
    answer = ", ".join(named) or ("no active region" if prediction.answered[0] else "no answer")
    return f"{_times(newest)}: {answer} ({_state(newest, now, dropped)})"


def answer_lines(newest: LiveAnswer, now: float, dropped: int, width: int) -> list[str]:
    """An answer as a block of lines with bars, always equally many."""
    prediction = newest.prediction
    by = " and ".join(prediction.modalities[0]) or "nothing that was seen"
    lines = [f"{_times(newest)} by {by} ({_state(newest, now, dropped)})"]
    probabilities = np.nan_to_num(prediction.probabilities[0])
    longest = max(map(len, prediction.regions))
    for region in np.argsort(-probabilities, kind="stable")[:MAX_ROWS].tolist():
        mark = "*" if prediction.active[0, region] else " "
        percent = f"{100 * probabilities[region]:3.0f} %" if prediction.answered[0] else "    -"
        bar = "#" * round(_BAR * probabilities[region])
        lines.append(f"{mark} {prediction.regions[region]:<{longest}}  {percent}  {bar}")
    return [shortened(line, width - 1) for line in lines]


def _times(newest: LiveAnswer) -> str:
    start_s, end_s = newest.prediction.times_s[0]
    return f"{start_s:.1f}-{end_s:.1f} s"


def _state(newest: LiveAnswer, now: float, dropped: int) -> str:
    age = f"{newest.age_s(now):.1f} s old"
    return f"{age}, {dropped} frames dropped" if dropped else age
