"""The page's section on repetitions and alerts, as data of its template `coach.html`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from musclemap_jax.coach.coaching import MISSING, MOVING, Alert, Coaching, Repetition
from musclemap_jax.predict.coach_text import summary
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.recorder import Recorder

MAX_REPETITIONS = 60
"""Rows of the profile; of a longer video, the first ones are shown."""

MAX_PICTURES = 8
"""Alerts that are shown with a frame."""


@dataclasses.dataclass(frozen=True)
class ShownAlert:
    """An alert with a frame.

    Attributes:
      alert: The alert.
      is_missing: Whether something is expected and not there.
      time_s: Time of the frame in seconds.
      jpeg: The frame; empty if there is none.
    """

    alert: Alert
    is_missing: bool
    time_s: float = 0.0
    jpeg: bytes = b""


@dataclasses.dataclass(frozen=True)
class CoachSection:
    """The section.

    Attributes:
      coaching: What it shows.
      summary: One sentence on repetitions and holds.
      regions: Names of the columns of the profile.
      columns: Their indices.
      repetitions: (number, repetition) of the rows.
      more: Repetitions that are not shown.
      alerts: The alerts.
      marked: {(number of a repetition, index of a region): kind} of cells with an alert.
    """

    coaching: Coaching
    summary: str
    regions: tuple[str, ...]
    columns: tuple[int, ...]
    repetitions: tuple[tuple[int, Repetition], ...]
    more: int
    alerts: tuple[ShownAlert, ...]
    marked: dict[tuple[int, int], str]


def coach_section(prediction: Prediction, order: Sequence[int], recorder: Recorder | None) -> CoachSection:
    """The section of a prediction.

    Args:
      prediction: The prediction.
      order: Indices of the regions in the order in which they are shown.
      recorder: What observed the video; None for a page without pictures.
    """
    coaching = prediction.coaching
    index = {region: k for k, region in enumerate(prediction.regions)}
    marked = {
        (number, index[alert.region]): alert.kind
        for alert in coaching.alerts
        if alert.unit == "repetition" and alert.kind != MOVING
        for number in range(alert.repetitions[0], alert.repetitions[1] + 1)
    }
    rows = [(number, each) for number, each in enumerate(coaching.repetitions, start=1)]
    return CoachSection(
        coaching=coaching,
        summary=summary(coaching),
        regions=tuple(prediction.regions[k] for k in order),
        columns=tuple(order),
        repetitions=tuple(rows[:MAX_REPETITIONS]),
        more=max(0, len(rows) - MAX_REPETITIONS),
        alerts=tuple(
            _shown(alert, recorder if place < MAX_PICTURES else None, prediction.person)
            for place, alert in enumerate(coaching.alerts)
        ),
        marked=marked,
    )


def _shown(alert: Alert, recorder: Recorder | None, person: int | None) -> ShownAlert:
    frame = recorder.nearest((alert.start_s + alert.end_s) / 2, person) if recorder else None
    return ShownAlert(alert, alert.kind == MISSING, *(frame or ()))
