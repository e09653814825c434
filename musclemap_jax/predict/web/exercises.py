"""The exercises that a visitor can expect, and what then adds alerts to the prediction.

A model without alert margins, or whose regions are not those of the table of activities, names none, and the page shows
no field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from musclemap_jax.coach.expectation import built_in_table
from musclemap_jax.predict.coaching import OVERLAP
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.request import Request

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model


def exercise_names(model: Model) -> list[str]:
    """Names of the exercises, sorted."""
    if model.margins is None:
        return []
    return sorted(name for name, regions in built_in_table().items() if set(regions) <= set(model.regions))


def coach_of(model: Model, exercise: str) -> Callable[[Prediction], Prediction]:
    """What adds the alerts of an exercise of `exercise_names`."""
    return lambda prediction: model.coach(prediction, expect=exercise)


def coach_request(request: Request) -> Request:
    """The request, with windows that overlap enough for alerts."""
    return dataclasses.replace(request, overlap=max(OVERLAP, request.overlap))
