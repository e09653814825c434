"""The exercises that a visitor can expect, and what then adds alerts to the prediction.

A model that cannot say what an exercise should activate names none, and the page shows no field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from musclemap_jax.predict.prediction import Prediction

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model


def exercise_names(model: Model) -> list[str]:
    """Names of the exercises."""
    del model
    return []


def coach_of(model: Model, exercise: str) -> Callable[[Prediction], Prediction]:
    """What adds the alerts of an exercise of `exercise_names`."""
    raise NotImplementedError(f"{model.name}: {exercise}")
