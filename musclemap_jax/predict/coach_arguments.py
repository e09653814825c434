"""The arguments of the command with which an exercise is watched: what is expected, or a reference."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from musclemap_jax.arguments import filled
from musclemap_jax.coach.expectation import built_in_table, find_exercise, read_activities
from musclemap_jax.errors import UserError
from musclemap_jax.predict.coaching import OVERLAP
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.request import Request

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model


def add_coach_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --expect, --activities and --reference."""
    group = parser.add_argument_group("coach")
    expected = group.add_mutually_exclusive_group()
    expected.add_argument(
        "--expect", metavar="EXERCISE", type=filled, help="alert where the muscles are not those of the exercise"
    )
    expected.add_argument(
        "--reference", metavar="VIDEO", type=filled, help="alert where they are not those of this video"
    )
    group.add_argument(
        "--activities", metavar="CSV", type=filled, help="table of exercises for --expect: activity,muscles"
    )


def coach_request(arguments: argparse.Namespace, request: Request) -> Request:
    """The request, with windows that overlap enough for alerts if there are to be any.

    Raises:
      UserError: An unknown exercise, or arguments that contradict each other.
    """
    if arguments.activities and not arguments.expect:
        raise UserError("--activities: goes with --expect, the exercise to look up in it")
    if arguments.expect and not arguments.activities:
        find_exercise(arguments.expect, built_in_table())  # before the model is loaded
    if not arguments.expect and not arguments.reference:
        return request
    return dataclasses.replace(request, overlap=max(OVERLAP, request.overlap))


def coach_of(
    arguments: argparse.Namespace, model: Model, request: Request
) -> Callable[[Prediction], Prediction] | None:
    """What adds alerts to a prediction; None if nothing is expected. A reference is predicted here, once.

    Raises:
      UserError: A model without alert margins, an unknown exercise, or a reference that cannot be used.
    """
    if arguments.expect:
        table = read_activities(arguments.activities, model.regions) if arguments.activities else built_in_table()
        expectation = find_exercise(arguments.expect, table)
        expectation.mask(model.regions)
        model.check_margins()
        return lambda prediction: model.coach(prediction, expect=expectation)
    if arguments.reference:
        model.check_margins()
        # --person is a number in the videos; in the reference it would be somebody else.
        (reference,) = dataclasses.replace(request, person=None).predict(model, Path(arguments.reference))
        model.coach(reference, reference=reference)  # a reference without repetitions is refused before the videos
        return lambda prediction: model.coach(prediction, reference=reference)
    return None
