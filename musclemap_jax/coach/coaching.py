"""What a coach says of one video: repetitions with their muscle regions, holds and alerts.

Letters of shapes: K muscle regions, R repetitions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

UNEXPECTED, MISSING, MOVING = "unexpected", "missing", "moving"
"""Kinds of alerts: a region is active and not expected, or expected and not active; joints move more than expected."""


_WHAT = {
    UNEXPECTED: "active, but not expected",
    MISSING: "expected, but not active",
    MOVING: "move more than expected",
}


@dataclasses.dataclass(frozen=True)
class Repetition:
    """One repetition of an exercise.

    Attributes:
      start_s: Its start in seconds.
      end_s: Its end in seconds: the next one's start, unless there is a pause.
      probabilities: K probabilities of the muscle regions, from the windows that it lies in, each weighted by its
        overlap; empty if none of them has an answer.
      active: K decisions; empty likewise.
      motion: How far the joints and the trunk move in it (`motion.MOTIONS`), in degrees, and the ankles, in hundredths
        of the body's size; None for what is not seen.
    """

    start_s: float
    end_s: float
    probabilities: tuple[float, ...] = ()
    active: tuple[bool, ...] = ()
    motion: tuple[float | None, ...] = ()

    @property
    def tempo_s(self) -> float:
        """Its length in seconds."""
        return self.end_s - self.start_s


@dataclasses.dataclass(frozen=True)
class Hold:
    """A pose that is kept.

    Attributes:
      start_s: Its start in seconds.
      end_s: Its end in seconds.
    """

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.end_s - self.start_s


@dataclasses.dataclass(frozen=True)
class Alert:
    """A muscle region, or joints, that differ from what is expected by more than the margin.

    Attributes:
      kind: `UNEXPECTED`, `MISSING` or `MOVING`.
      region: Name of the region, or of the joints, a key of `motion.MOTIONS`.
      repetitions: Numbers of the first and of the last repetition that it holds for, from 1.
      start_s: Start of the first one in seconds.
      end_s: End of the last one.
      frames: Numbers of the first and of the last frame, from 0.
      probability: Mean probability of the region over these repetitions; 0 for joints.
      excess: By how much the margin is exceeded, in log-odds, or for joints in the unit of `Repetition.motion`: the
        mean over these repetitions.
      unit: "repetition", or "hold" for a static exercise: what is numbered.
    """

    kind: str
    region: str
    repetitions: tuple[int, int]
    start_s: float
    end_s: float
    frames: tuple[int, int]
    probability: float
    excess: float
    unit: str = "repetition"

    @property
    def sentence(self) -> str:
        """The alert in words."""
        first, last = self.repetitions
        which = f"{self.unit} {first}" if first == last else f"{self.unit}s {first} to {last}"
        what = _WHAT[self.kind]
        return f"{self.region}: {what}, in {which} ({self.start_s:.1f}-{self.end_s:.1f} s)"


@dataclasses.dataclass(frozen=True)
class Coaching:
    """Repetitions, holds and alerts of a video.

    Attributes:
      repetitions: In the order of time.
      holds: In the order of time.
      expected: What the alerts compare with, such as "squat: quadriceps, hamstring, gluteus"; empty if nothing was
        expected.
      alerts: In the order of their start.
      notes: Sentences on what limits all this.
    """

    repetitions: tuple[Repetition, ...] = ()
    holds: tuple[Hold, ...] = ()
    expected: str = ""
    alerts: tuple[Alert, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Coaching:
        """The inverse of `to_json`, also of what JSON makes of it."""
        return cls(
            repetitions=_read(Repetition, entry["repetitions"]),
            holds=_read(Hold, entry["holds"]),
            expected=entry["expected"],
            alerts=_read(Alert, entry["alerts"]),
            notes=tuple(entry["notes"]),
        )


def _read(cls: type[Any], entries: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(
        cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()})
        for entry in entries
    )
