"""What happens when in a training session: repetitions, pauses, drift of tempo, a false start, holds; sampled.

A session lasts 30 to 90 seconds and has 4 to 25 repetitions, or one to three holds of a static exercise.

Letters of shapes: T frames, R repetitions, H holds.
"""

from __future__ import annotations

import dataclasses

import numpy as np

SHORTEST_S, LONGEST_S = 30.0, 90.0
REPETITIONS = (4, 25)
"""Fewest and most repetitions of a session."""

HOLD_S = (6.0, 25.0)
"""Shortest and longest hold, which is longer where it is the only one."""

_WORK_S = 8.0
"""Least time of all repetitions together: nobody raises the knees four times and rests for the other 27 seconds."""

_REST_S = (0.5, 2.5)
_PAUSE_S = (0.6, 5.0)
_PAUSE = 0.15
"""Probability of a pause after a repetition."""

_DRIFT = 0.3
"""Largest change of the tempo from the first to the last repetition, as a fraction of it, either way."""

_FALSE_START = 0.5
_MOVE_S = (0.8, 1.6)
"""Time in which a hold is reached and left."""


@dataclasses.dataclass(frozen=True)
class Timeline:
    """A session in time.

    Attributes:
      fps: Frames per second.
      phase: (T,) phase of the movement in each frame; whole numbers are rest.
      repetitions: (R, 2) start and end of each repetition in seconds.
      holds: (H, 2) start and end of each hold in seconds.
      false_start: Start and end in seconds of a movement that is broken off; None if there is none.
    """

    fps: float
    phase: np.ndarray
    repetitions: np.ndarray
    holds: np.ndarray
    false_start: tuple[float, float] | None = None

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.phase)

    @property
    def times_s(self) -> np.ndarray:
        """(T,) times of the frames in seconds."""
        return np.arange(len(self.phase)) / self.fps


class _Track:
    """Phases at chosen times, between which the phase is linear."""

    def __init__(self) -> None:
        self.times, self.phases = [0.0], [0.0]

    @property
    def now(self) -> float:
        return self.times[-1]

    def go(self, duration_s: float, phase: float) -> tuple[float, float]:
        """Moves to a phase; returns start and end in seconds."""
        start = self.now
        self.times.append(start + duration_s)
        self.phases.append(phase)
        return start, self.now

    def stay(self, duration_s: float) -> tuple[float, float]:
        return self.go(duration_s, self.phases[-1])

    def finished(self, fps: float, repetitions: list, holds: list, false_start: tuple[float, float] | None) -> Timeline:
        time = np.arange(int(self.now * fps)) / fps
        spans = [np.array(each, np.float64).reshape(-1, 2) for each in (repetitions, holds)]
        return Timeline(fps, np.interp(time, self.times, self.phases), *spans, false_start)


def sample_repetitions(
    period_s: tuple[float, float], false_start_phase: float, fps: float, rng: np.random.Generator
) -> Timeline:
    """Samples a session of repetitions.

    Args:
      period_s: Shortest and longest repetition of the exercise.
      false_start_phase: Phase at which a false start turns back, in (0, 0.5).
      fps: Frames per second.
      rng: Source of randomness.
    """
    period, number = _tempo(period_s, rng)
    drift = rng.uniform(-_DRIFT, _DRIFT)
    periods = period * (1 + drift * np.linspace(-0.5, 0.5, number)) * np.exp(rng.normal(0, 0.04, number))
    pauses = np.where(rng.random(number) < _PAUSE, rng.uniform(*_PAUSE_S, number), 0.0)
    false_start = bool(rng.random() < _FALSE_START)
    start, end, between = rng.uniform(*_REST_S, 3)
    spent = periods.sum() + pauses.sum() + start + end + false_start * (between + 0.8 * period)
    missing = max(0.0, SHORTEST_S + 0.5 - spent)  # a short session rests longer, somewhere in the middle
    pauses[rng.integers(0, number - 1)] += missing

    track, broken_off = _Track(), None
    track.stay(start)
    if false_start:
        begin, _ = track.go(0.4 * period, false_start_phase)
        _, finish = track.go(0.4 * period, 0.0)
        broken_off = (begin, finish)
        track.stay(between)
    repetitions = []
    for index in range(number):
        repetitions.append(track.go(periods[index], index + 1.0))
        if pauses[index]:
            track.stay(pauses[index])
    track.stay(end)
    return track.finished(fps, repetitions, [], broken_off)


def _tempo(period_s: tuple[float, float], rng: np.random.Generator) -> tuple[float, int]:
    """Mean period in seconds and number of repetitions that fit into a session."""
    period = float(rng.uniform(*period_s) * rng.uniform(0.9, 1.15))
    fewest, most = REPETITIONS
    fewest = max(fewest, int(np.ceil(_WORK_S / period)))
    most = int(min(most, 0.75 * LONGEST_S / period))
    return period, int(rng.integers(fewest, most + 1))


def sample_holds(peak_phase: float, fps: float, rng: np.random.Generator) -> Timeline:
    """Samples a session of one to three holds of the pose at `peak_phase`."""
    number = int(rng.integers(1, 4))
    durations = rng.uniform(*HOLD_S, number)
    durations *= max(1.0, SHORTEST_S / durations.sum())
    track = _Track()
    track.stay(rng.uniform(*_REST_S))
    holds = []
    for index, duration in enumerate(durations.tolist()):
        track.go(rng.uniform(*_MOVE_S), index + peak_phase)
        holds.append(track.stay(duration))
        track.go(rng.uniform(*_MOVE_S), index + 1.0)
        track.stay(rng.uniform(1.0, 3.0))
    return track.finished(fps, [], holds, None)
