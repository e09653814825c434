"""Linear models that see, for each muscle region, only the limbs that its muscles move or hold.

For the muscles of the arms, statistics of poses without legs; for all others, of poses without arms. On new activities,
which combine the arms of one exercise with the legs of another, that is worth more than any statistic.

Letters of shapes: n clips, F statistics, K muscle regions.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from musclemap_jax.eval.linear_model import LinearModel, fit_linear_model


@dataclasses.dataclass(frozen=True)
class LimbModel:
    """Two linear models.

    Attributes:
      of_arms: The regions that the first one answers for.
      without_legs: It takes the first half of the statistics.
      without_arms: The other half, for the other regions.
    """

    of_arms: Bool[np.ndarray, " K"]
    without_legs: LinearModel
    without_arms: LinearModel

    def log_odds(self, statistics: Float[np.ndarray, "n F"]) -> Float64[np.ndarray, "n K"]:
        """Log-odds of every region; NaN statistics count as the mean."""
        first, second = np.split(statistics, 2, axis=1)
        scores = np.empty((len(statistics), len(self.of_arms)))
        scores[:, self.of_arms] = self.without_legs.log_odds(first)
        scores[:, ~self.of_arms] = self.without_arms.log_odds(second)
        return scores


def fit_limb_model(
    statistics: Float[np.ndarray, "n F"], labels: Shaped[np.ndarray, "n K"], of_arms: Bool[np.ndarray, " K"]
) -> LimbModel:
    """Fits both models.

    Args:
      statistics: Those of poses without legs, then the same of poses without arms; NaN where they are undefined.
      labels: 0 or 1.
      of_arms: Which regions are those of the arms' muscles.
    """
    first, second = np.split(statistics, 2, axis=1)
    return LimbModel(
        of_arms, fit_linear_model(first, labels[:, of_arms]), fit_linear_model(second, labels[:, ~of_arms])
    )
