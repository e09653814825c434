"""Calibrates the margins of a model's alerts on rendered sessions that are done right, and writes them beside it.

    python -m musclemap_jax.predict.calibrate_alerts --run=runs/demo

The sessions are skeletons only, which the model's skeleton branch answers; the alerts of that model rest on this branch
from then on. `coach/margins.py` says what the margins guarantee: nothing for real videos.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.coach.exercise import repetitions_and_holds
from musclemap_jax.coach.margins import AlertMargins, RightSession, calibrate_margins, loosest
from musclemap_jax.coach.motion import motion_ranges
from musclemap_jax.coach.movement import movement
from musclemap_jax.coach.profiles import repetition_scores
from musclemap_jax.errors import UserError
from musclemap_jax.predict.coaching import OVERLAP
from musclemap_jax.predict.command import run_command
from musclemap_jax.predict.model import Model, load
from musclemap_jax.predict.model_folder import SHIPPED
from musclemap_jax.predict.skeleton_answers import SkeletonAnswerer
from musclemap_jax.predict.stored_margins import weights_digest, write_margins
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic.activities.table import ACTIVITIES
from musclemap_jax.synthetic.movements import MOVEMENTS
from musclemap_jax.synthetic.session import LAYOUT, Session, sample_session
from musclemap_jax.taxonomy import MUSCLE_REGIONS

ALPHA = 0.002
"""A false alert of any of the three kinds in at most one of 160 sessions, which are two hours."""

SESSIONS = 20
"""Sessions of each activity."""

SEED = 7001


class Scored(NamedTuple):
    """The repetitions that are found in a session.

    Attributes:
      times: (R, 2) start and end in seconds.
      scores: (R, K) log-odds.
      motion: (R, A) ranges of the joints' angles in degrees.
    """

    times: np.ndarray
    scores: np.ndarray
    motion: np.ndarray


def scored(answerer: SkeletonAnswerer, session: Session) -> Scored | None:
    """The repetitions of a session, found as prediction finds them; None if there are none."""
    moved = movement(session.skeleton[:, 0], get_layout(LAYOUT).joints, session.timeline.fps)
    times = np.zeros((0, 2)) if moved is None else repetitions_and_holds(moved)[0]
    if moved is None or not len(times):
        return None
    window_times, scores = answerer.windows(session.skeleton, LAYOUT, session.timeline.fps, OVERLAP)
    return Scored(times, repetition_scores(scores, window_times, times), motion_ranges(moved, times))


def right_sessions(answerer: SkeletonAnswerer, number: int, seed: int) -> Iterator[RightSession]:
    """Sessions of all activities, also of those that no model is trained on; without repetitions they are left out."""
    for activity in ACTIVITIES:
        for index in range(number):
            found = scored(answerer, sample_session(activity, seed, f"{activity.slug}_{index}"))
            if found is not None:
                expected = np.isin(np.arange(len(MUSCLE_REGIONS)), activity.muscles)
                yield RightSession(activity.name, expected, found.scores, found.motion)


def calibrate(model: Model, number: int = SESSIONS, alpha: float = ALPHA, seed: int = SEED) -> AlertMargins:
    """Margins of a model's alerts.

    Args:
      model: A model of MuscleMap's regions with a skeleton branch.
      number: Sessions of each activity.
      alpha: Probability of a false alert, of one kind in one session.
      seed: Random seed of the sessions.

    Raises:
      UserError: Another model.
    """
    held_out = number * len(ACTIVITIES) // 2
    if number < 4 or not 1 / (held_out + 1) <= alpha < 1:
        raise UserError(
            f"--sessions, --alpha: expected at least 4 sessions, and an alpha from 1 / {held_out + 1} to below 1, got "
            f"{number} and {alpha}: with fewer sessions, no margin is so rarely exceeded"
        )
    if model.regions != MUSCLE_REGIONS:
        raise UserError(f"{model.name}: expected the {len(MUSCLE_REGIONS)} regions of MuscleMap, it has others")
    answerer = SkeletonAnswerer(model)
    sessions = list(right_sessions(answerer, number, seed))
    margins = calibrate_margins(
        sessions,
        model.regions,
        alpha=alpha,
        branch=answerer.branch,
        made_on=f"rendered sessions of {len({session.activity for session in sessions})} activities, done right",
        weights=weights_digest(model.variables),
    )
    return with_movements(margins)


def with_movements(margins: AlertMargins) -> AlertMargins:
    """Adds margins for each movement, such as "squat", of which some activities consist alone: the loosest of these."""
    found = dict(margins.exercises)
    for name in MOVEMENTS:
        alone = [activity.name for activity in ACTIVITIES if activity.movements == (name,)]
        if of_activities := [margins.exercises[each] for each in alone if each in margins.exercises]:
            found.setdefault(name, loosest(of_activities))
    return dataclasses.replace(margins, exercises=found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser(
        prog="python -m musclemap_jax.predict.calibrate_alerts", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--run", metavar="RUN", help="workdir or model folder (default: the shipped model)")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="sessions of each activity (%(default)s)")
    parser.add_argument("--alpha", type=float, default=ALPHA, help="probability of a false alert (%(default)s)")

    def body() -> None:
        args = parser.parse_args(expand_home(arguments))
        margins = calibrate(load(args.run), args.sessions, args.alpha)
        folder = str(SHIPPED) if args.run is None else args.run
        write_margins(folder, margins)
        print(f"{folder}/alerts.json: margins from {margins.num_sessions} {margins.made_on}")

    return run_command(body)


if __name__ == "__main__":
    sys.exit(main())
