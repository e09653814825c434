"""Measures the coach on rendered sessions, whose truth is known: repetitions, holds, and alerts on wrong executions.

    python -m tools.coach_study --out=coach_study.json

Sessions are skeletons with the errors of a pose estimator, of other subjects, cameras and tempos than those on which
the margins of the alerts were calibrated; no pixels are rendered, and the model's skeleton branch answers.

- repetitions: sessions of 30 to 90 s with 4 to 25 repetitions, pauses, drift of tempo and false starts, of all
  activities in turn: fraction within one of the truth, mean absolute error, and that of the best constant, the median
  of the truth.
- holds: sessions with one to three holds: fraction whose length is right within a second.
- alerts: sessions of `synthetic.mixtures`, every second one done right at first: an alert counts as detection if it
  names a region that really differs, or joints of the mixed part, in a wrong repetition; "region named" counts regions
  alone. Right sessions: false alarms an hour, with the 95 % upper bound of a Poisson rate; alerts at the same
  time are one alarm, since one mistake of a camera or a model often raises several. With a reference, each session is
  compared with a right one of another subject.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_jax.coach.alerts import (
    excess_motion,
    excess_over_expected,
    excess_over_reference,
    find_alerts,
    motion_limits,
)
from musclemap_jax.coach.coaching import MISSING, MOVING, UNEXPECTED, Alert
from musclemap_jax.coach.exercise import repetitions_and_holds
from musclemap_jax.coach.motion import MOTIONS
from musclemap_jax.coach.movement import movement
from musclemap_jax.predict.calibrate_alerts import Scored, scored
from musclemap_jax.predict.model import load
from musclemap_jax.predict.skeleton_answers import SkeletonAnswerer
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.activities.table import ACTIVITIES, select
from musclemap_jax.synthetic.mixtures import MIXTURES, Mixture
from musclemap_jax.synthetic.session import FPS, LAYOUT, Session, sample_hold_session, sample_session
from musclemap_jax.taxonomy import MUSCLE_REGIONS

HELD = (
    "forearm plank", "glute bridge", "bodyweight squat", "superman", "side plank hip lift", "bird dog", "lateral raise",
    "sumo squat",
)  # fmt: skip
"""Exercises that are held; the forearm plank between rests on all fours."""

REFERENCES = 3
"""Right sessions of each exercise, other subjects each, that serve as references in turn."""

SEED = 1
KINDS = ("expect", "reference")
_PARTS = ("repetitions", "holds", "alerts")


def found_in(session: Session) -> tuple[np.ndarray, np.ndarray]:
    """Times of the repetitions and of the holds that are found in a session."""
    moved = movement(session.skeleton[:, 0], get_layout(LAYOUT).joints, session.timeline.fps)
    return repetitions_and_holds(moved) if moved else (np.zeros((0, 2)), np.zeros((0, 2)))


def study_repetitions(number: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Counts of `number` sessions, of all activities in turn."""
    truth, counted, wrong = [], [], []
    for index in range(number):
        activity = ACTIVITIES[index % len(ACTIVITIES)]
        session = sample_session(activity, SEED, f"count_{index}")
        truth.append(len(session.timeline.repetitions))
        counted.append(len(found_in(session)[0]))
        if abs(truth[-1] - counted[-1]) > 1:
            wrong.append(f"{activity.name}: {counted[-1]} of {truth[-1]}")
            progress(wrong[-1])
    errors = np.abs(np.array(truth) - np.array(counted))
    return {
        "sessions": number,
        "within_one": float((errors <= 1).mean()),
        "exact": float((errors == 0).mean()),
        "mean_absolute_error": float(errors.mean()),
        "best_constant": float(np.median(truth)),
        "best_constant_error": float(np.abs(np.array(truth) - np.median(truth)).mean()),
        "wrong": wrong,
    }


def study_holds(number: int, progress: Callable[[str], None], held: tuple[str, ...] = HELD) -> dict[str, Any]:
    """Lengths of the holds of `number` sessions of each exercise."""
    errors, wrong = [], []
    for activity in select(held):
        for index in range(number):
            session = sample_hold_session(activity, SEED, f"hold_{activity.slug}_{index}")
            true, (repetitions, holds) = session.timeline.holds, found_in(session)
            if len(holds) == len(true):
                errors += np.abs(np.diff(holds)[:, 0] - np.diff(true)[:, 0]).tolist()
            else:
                errors += [math.inf] * len(true)
                wrong.append(f"{activity.name}: {len(holds)} of {len(true)} holds, {len(repetitions)} repetitions")
                progress(wrong[-1])
    found = [error for error in errors if math.isfinite(error)]
    return {
        "holds": len(errors),
        "within_a_second": float((np.array(errors) <= 1.0).mean()),
        "mean_absolute_error_s": float(np.mean(found)) if found else None,
        "wrong": wrong,
    }


class AlertStudy:
    """Alerts of a model on sessions."""

    def __init__(self, run: str | None) -> None:
        """Raises UserError if the model has no skeleton branch or no margins."""
        model = load(run)
        self.margins, self.answerer = model.check_margins(), SkeletonAnswerer(model)
        self._references: dict[str, Scored | None] = {}

    def alerts(self, session: Session, index: int) -> dict[str, tuple[Alert, ...]]:
        """The alerts of a session: "expect" by its exercise, "reference" by a right session of another subject."""
        found, reference = scored(self.answerer, session), self.reference(session.activity, index)
        if found is None:
            return dict.fromkeys(KINDS, ())
        expected = np.isin(np.arange(len(MUSCLE_REGIONS)), session.activity.muscles)
        margins = self.margins.of(session.activity.name)
        alerts = {"expect": self._found(found, excess_over_expected(found.scores, expected, margins), margins.motion)}
        if reference is not None:
            excess = excess_over_reference(found.scores, reference.scores.mean(axis=0), self.margins)
            alerts["reference"] = self._found(found, excess, motion_limits(reference.motion.mean(axis=0), self.margins))
        return {kind: alerts.get(kind, ()) for kind in KINDS}

    def _found(self, found: Scored, excess: Mapping[str, np.ndarray], limits: Sequence[float]) -> tuple[Alert, ...]:
        moving = excess_motion(found.motion, limits)
        return (
            *find_alerts(excess, MUSCLE_REGIONS, np.zeros_like(found.scores), found.times, FPS),
            *find_alerts(moving, tuple(MOTIONS), np.zeros_like(found.motion), found.times, FPS),
        )

    def reference(self, activity: Activity, index: int) -> Scored | None:
        """A right session of another subject; None if no repetition is found in it."""
        name = f"reference_{activity.slug}_{index % REFERENCES}"
        if name not in self._references:
            self._references[name] = scored(self.answerer, sample_session(activity, SEED, name))
        return self._references[name]


def is_right(alert: Alert, mixture: Mixture, wrong_times: np.ndarray) -> bool:
    """Whether an alert names a region that differs, or joints of the mixed part, in a wrong repetition."""
    right = {
        UNEXPECTED: [MUSCLE_REGIONS[k] for k in mixture.unexpected],
        MISSING: [MUSCLE_REGIONS[k] for k in mixture.missing],
        MOVING: mixture.joints,
    }
    overlaps = (wrong_times[:, 0] < alert.end_s) & (wrong_times[:, 1] > alert.start_s)
    return alert.region in right[alert.kind] and bool(overlaps.any())


def study_alerts(run: str | None, per_mixture: int, hours: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """Detection on wrong sessions, and false alerts in right ones."""
    study = AlertStudy(run)
    table = []
    for mixture in MIXTURES:
        row: dict[str, Any] = {
            "expected": mixture.base,
            "mixed with": f"{mixture.part} of {mixture.other}",
            "sessions": per_mixture,
        }
        hits, by_region = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
        for index in range(per_mixture):
            name = f"wrong_{mixture.base}_{mixture.other}_{index}"
            session = sample_session(mixture.activity, SEED, name, mixture=mixture, wrong_from=0.5 * (index % 2))
            wrong_times = session.timeline.repetitions[session.wrong]
            for kind, alerts in study.alerts(session, index).items():
                right = [alert for alert in alerts if is_right(alert, mixture, wrong_times)]
                hits[kind] += bool(right)
                by_region[kind] += any(alert.kind != MOVING for alert in right)
        table.append(
            row
            | {f"detected by {kind}": count for kind, count in hits.items()}
            | {f"region named by {kind}": count for kind, count in by_region.items()}
        )
        progress(str(table[-1]))
    total = sum(row["sessions"] for row in table)
    detection = {
        f"{what} by {kind}": sum(row[f"{what} by {kind}"] for row in table) / total
        for what in ("detected", "region named")
        for kind in KINDS
    }
    right = {
        "known": study_right(study, [each for each in ACTIVITIES if each.known], hours, progress),
        "new": study_right(study, [each for each in ACTIVITIES if not each.known], hours / 3, progress),
    }
    return {"table": table, "detection": detection, "right": right}


def study_right(
    study: AlertStudy, activities: Sequence[Activity], hours: float, progress: Callable[[str], None]
) -> dict[str, Any]:
    """False alerts in `hours` of sessions that are done right."""
    seconds, sessions, alarms, alerts = 0.0, 0, dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    alarmed: dict[str, int] = {}
    while seconds < 3600 * hours:
        activity = activities[sessions % len(activities)]
        session = sample_session(activity, SEED, f"right_{activity.slug}_{sessions}")
        for kind, found in study.alerts(session, sessions).items():
            alerts[kind] += len(found)
            alarms[kind] += num_alarms(found)
            if found:
                alarmed[f"{activity.name}, {kind}"] = alarmed.get(f"{activity.name}, {kind}", 0) + len(found)
        seconds, sessions = seconds + session.timeline.num_frames / FPS, sessions + 1
    progress(str(alarmed))
    taken = seconds / 3600
    rates = {
        kind: {
            "alerts": alerts[kind],
            "alarms": count,
            "an_hour": count / taken,
            "upper_95": poisson_upper(count) / taken,
        }
        for kind, count in alarms.items()
    }
    return {"hours": taken, "sessions": sessions, "activities": len(activities), "alarmed": alarmed} | rates


def num_alarms(alerts: Sequence[Alert]) -> int:
    """The number of stretches of time with alerts."""
    ends = [-math.inf]
    for alert in sorted(alerts, key=lambda each: each.start_s):
        if alert.start_s > ends[-1]:
            ends.append(alert.end_s)
        ends[-1] = max(ends[-1], alert.end_s)
    return len(ends) - 1


def poisson_upper(count: int, confidence: float = 0.95) -> float:
    """Exact upper bound on a Poisson mean, given a count (Garwood 1936)."""
    low, high = float(count), 3.0 * count + 10.0
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(count + 1))
        low, high = (middle, high) if below > 1 - confidence else (low, middle)
    return high


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.coach_study", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", help="workdir or model folder (default: the shipped model)")
    parser.add_argument("--only", choices=_PARTS, help="one part of the study")
    parser.add_argument("--sessions", type=int, default=200, help="sessions whose repetitions are counted (200)")
    parser.add_argument("--holds", type=int, default=5, help="sessions of each held exercise (5)")
    parser.add_argument("--per_mixture", type=int, default=6, help="sessions of each wrong execution (6)")
    parser.add_argument("--hours", type=float, default=3.0, help="hours of right sessions of known activities (3)")
    parser.add_argument("--out", metavar="JSON", help="file of the result; it is printed in any case")
    args = parser.parse_args(arguments)

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    parts = {
        "repetitions": lambda: study_repetitions(args.sessions, progress),
        "holds": lambda: study_holds(args.holds, progress),
        "alerts": lambda: study_alerts(args.run, args.per_mixture, args.hours, progress),
    }
    result = {name: run() for name, run in parts.items() if args.only in (None, name)}
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
