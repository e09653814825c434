"""The windows of a video that can be explained after the video has been read; memory does not grow with its length."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.predict.windows import Window

MAX_WINDOWS = 16
"""A few megabytes of JPEG frames each at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class KeptWindow:
    """What a model was shown of a window.

    Attributes:
      times_s: Start and end in seconds.
      person: Number of the only person whom it was shown; None for all.
      start: Number of the window's first frame in the video.
      record: The window as a record of prepared data.
    """

    times_s: tuple[float, float]
    person: int | None
    start: int
    record: ClipRecord


class KeptWindows:
    """Keeps at most `MAX_WINDOWS` windows, spread evenly over a video, each for every person whom it is about.

    Beside them it keeps the first window of each person, who may not be in any of the others.
    """

    def __init__(self, needs_person: bool = False) -> None:
        """Takes whether the model has no answer for a window without a person."""
        self._needs_person = needs_person
        self._by_number: dict[int, list[KeptWindow]] = {}
        self._first: dict[int | None, KeptWindow] = {}
        self._number, self._start, self._stride = -1, -1, 1

    def watch(self, rows: Iterable[tuple[Window, int | None]]) -> Iterator[tuple[Window, int | None]]:
        """Yields the same windows, each with the number of the only person to show, and keeps some of them."""
        for window, person in rows:
            if window.persons or not self._needs_person:
                self._consider(window, person)
            yield window, person

    def _consider(self, window: Window, person: int | None) -> None:
        if window.start != self._start:
            self._number, self._start = self._number + 1, window.start
        is_spread = self._number % self._stride == 0
        if not is_spread and person in self._first:
            return
        kept = KeptWindow(window.times_s, person, window.start, window.record(person))
        self._first.setdefault(person, kept)
        if is_spread:
            self._by_number.setdefault(self._number, []).append(kept)
        if len(self._by_number) > MAX_WINDOWS:
            self._stride *= 2
            self._by_number = {n: each for n, each in self._by_number.items() if n % self._stride == 0}

    def of_person(self, person: int | None) -> list[KeptWindow]:
        """The windows that were kept for a person, or for all, in the order of time."""
        spread = [kept for windows in self._by_number.values() for kept in windows if kept.person == person]
        first = [kept for kept in (self._first.get(person),) if kept is not None and kept not in spread[:1]]
        return first + spread
