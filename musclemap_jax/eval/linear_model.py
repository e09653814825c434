"""One logistic regression per muscle region, on statistics of a clip; fitted in seconds by scikit-learn.

Statistics are standardised by the training clips. One that is undefined on a clip counts as the mean, so a clip of
which nothing is known gets a region's frequency. Loading scikit-learn takes a second, so that only a fit does.

Letters of shapes: n clips, F statistics, K muscle regions.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from jaxtyping import Float, Float64, Shaped

STRENGTH = 0.2
"""Inverse strength of the ridge penalty on standardised statistics, chosen on validation clips of the rendered data."""

_MAX_ITERATIONS = 500
_FARTHEST = 6.0
"""Standard deviations at which a statistic is cut off, so that one joint in a wrong place does not decide a clip."""


@dataclasses.dataclass(frozen=True)
class LinearModel:
    """Log-odds that are linear in the standardised statistics.

    Attributes:
      centre: Mean of each statistic over the training clips.
      scale: Its standard deviation; infinite if it does not vary, so that it has no effect.
      weights: Of each statistic, by region.
      intercepts: Of each region.
    """

    centre: Float64[np.ndarray, " F"]
    scale: Float64[np.ndarray, " F"]
    weights: Float64[np.ndarray, "F K"]
    intercepts: Float64[np.ndarray, " K"]

    def log_odds(self, statistics: Float[np.ndarray, "n F"]) -> Float64[np.ndarray, "n K"]:
        """Log-odds of every region; NaN statistics count as the mean."""
        return self.standardised(statistics) @ self.weights + self.intercepts

    def standardised(self, statistics: Float[np.ndarray, "n F"]) -> Float64[np.ndarray, "n F"]:
        """Statistics in standard deviations from the mean; 0 where they are NaN."""
        scaled = (statistics.astype(np.float64) - self.centre) / self.scale
        return np.clip(np.nan_to_num(scaled, nan=0.0), -_FARTHEST, _FARTHEST)


def fit_linear_model(statistics: Float[np.ndarray, "n F"], labels: Shaped[np.ndarray, "n K"]) -> LinearModel:
    """Fits a region at a time; a region that all clips show, or none, has its frequency for every clip.

    Args:
      statistics: NaN where they are undefined.
      labels: 0 or 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    centre, scale = _moments(statistics)
    num_regions = labels.shape[1]
    frequency = (labels.sum(axis=0) + 0.5) / (len(labels) + 1)
    model = LinearModel(centre, scale, np.zeros((len(centre), num_regions)), np.log(frequency / (1 - frequency)))
    rows = model.standardised(statistics)
    with (
        warnings.catch_warnings(action="ignore", category=ConvergenceWarning),  # late steps change little
        threadpool_limits(1),  # on products this small, threads wait for each other
    ):
        for region in np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0)):
            fitted = LogisticRegression(C=STRENGTH, max_iter=_MAX_ITERATIONS).fit(rows, labels[:, region])
            model.weights[:, region], model.intercepts[region] = fitted.coef_[0], fitted.intercept_[0]
    return model


def _moments(
    statistics: Float[np.ndarray, "n F"],
) -> tuple[Float64[np.ndarray, " F"], Float64[np.ndarray, " F"]]:
    """Mean and standard deviation of each statistic, where it is defined."""
    values = np.ma.masked_invalid(statistics.astype(np.float64))
    centre, scale = values.mean(axis=0).filled(0.0), values.std(axis=0).filled(0.0)
    return centre, np.where(scale > 1e-6, scale, np.inf)
