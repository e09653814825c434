"""Calibrated probabilities: of the regions said to be active with p, a fraction p should be.

Two methods compete, and the one with the lower log loss on held-out activities is taken: temperature scaling, one
slope for all regions (Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", arXiv:1706.04599,
section 4.2), and Platt scaling, a slope and an intercept for each region (Platt, "Probabilistic outputs for support
vector machines", 1999), which a Gaussian prior of standard deviation 1 pulls towards the common temperature, so that a
region with few active clips keeps close to it.

Measured on the demo's 19 new activities, calibrated on the val_new clips of one half and scored on the test_new clips
of the other, both ways, mean over nine ways to halve them:

| calibration | ECE | log loss |
|---|---|---|
| none | 0.159 | 0.887 |
| temperature | 0.069 | 0.526 |
| Platt, with the prior | 0.085 | 0.555 |
| Platt, without a prior | 0.151 | 0.860 |
| isotonic regression, one for all regions | 0.068 | 0.597 |
| isotonic regression for each region | 0.184 | 1.236 |

So isotonic regression is left out: it needs more activities than a data set has new ones.

Each activity counts the same. Letters of shapes: n clips, K muscle regions, D parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Real

from musclemap_jax.eval.activities import activity_folds, activity_weights, count_activities
from musclemap_jax.eval.score_link import probabilities

METHODS = ("temperature", "platt")
NUM_BINS = 15
"""Bins of the expected calibration error, as in the source."""

_NUM_FOLDS = 10
_PRIOR = 1.0
"""Precision of the prior on a region's log-odds, and on its slope for scores in units of their root mean square."""

_WEAK_PRIOR = 1e-3
"""Keeps the temperature finite where the scores separate active from inactive perfectly."""

_LOWEST_SLOPE = 0.1
"""A region's probability rises with its score: its slope is at least this fraction of the common one."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibrated log-odds as a linear function of the score.

    Attributes:
      method: One of `METHODS`.
      slopes: K positive slopes.
      intercepts: K intercepts.
    """

    method: str
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]

    def log_odds(self, scores: Real[np.ndarray, "*W K"]) -> Float64[np.ndarray, "*W K"]:
        """Calibrated log-odds of (..., K) scores (`score_link.log_odds`)."""
        return scores.astype(np.float64) * np.array(self.slopes) + np.array(self.intercepts)

    def scores(self, log_odds: float) -> Float64[np.ndarray, " K"]:
        """(K,) scores at which each region has the given calibrated log-odds."""
        return (log_odds - np.array(self.intercepts)) / np.array(self.slopes)


class FittedCalibration(NamedTuple):
    """A calibration and what it says about the clips that it was fitted on.

    Attributes:
      calibration: Fitted on all clips.
      held_out_log_odds: (n, K) Log-odds of each clip by a fit without its activity.
    """

    calibration: Calibration
    held_out_log_odds: Float64[np.ndarray, "n K"]


def fit_calibration(
    scores: Real[np.ndarray, "n K"], labels: Real[np.ndarray, "n K"], activities: Sequence[str]
) -> FittedCalibration:
    """Fits both methods and takes the one with the lower log loss on held-out activities.

    Args:
      scores: (n, K) Finite scores (`score_link.log_odds`).
      labels: (n, K) 0 or 1.
      activities: n names; with one activity there is nothing to hold out, and the temperature is taken.
    """
    scores, labels = scores.astype(np.float64), labels.astype(np.float64)
    folds = activity_folds(activities, _NUM_FOLDS)
    weights = activity_weights(activities)
    held_out = {method: np.zeros_like(scores) for method in METHODS}
    for fold in np.unique(folds):
        out = folds == fold
        kept = out if out.all() else ~out
        kept_activities = [name for name, keep in zip(activities, kept, strict=True) if keep]
        for method in METHODS:
            fitted = _fit(method, scores[kept], labels[kept], kept_activities)
            held_out[method][out] = fitted.log_odds(scores[out])
    losses = {method: float(weights @ _log_loss(held_out[method], labels)) for method in METHODS}
    method = min(METHODS if folds.any() else METHODS[:1], key=losses.__getitem__)
    return FittedCalibration(_fit(method, scores, labels, activities), held_out[method])


def expected_calibration_error(
    probabilities: Real[np.ndarray, "n K"], labels: Real[np.ndarray, "n K"], num_bins: int = NUM_BINS
) -> float:
    """Expected calibration error over all (clip, region) pairs: Guo et al. 2017, equation 3.

    The pairs are sorted into bins of equal width by probability; the error is the mean over pairs of the difference
    between their bin's mean probability and its fraction of active regions.

    Args:
      probabilities: (n, K) In [0, 1].
      labels: (n, K) 0 or 1.
      num_bins: Number of bins.

    Returns:
      The error in [0, 1].
    """
    values, active = probabilities.ravel().astype(np.float64), labels.ravel().astype(np.float64)
    bins = np.minimum((values * num_bins).astype(int), num_bins - 1)
    differences = np.bincount(bins, values - active, minlength=num_bins)
    return float(np.abs(differences).sum() / len(values))


def _fit(
    method: str, scores: Float64[np.ndarray, "n K"], labels: Float64[np.ndarray, "n K"], activities: Sequence[str]
) -> Calibration:
    num_regions = scores.shape[1]
    weights = activity_weights(activities) * count_activities(activities)
    scale = max(float(np.sqrt(np.mean(scores**2))), 1e-6)
    scaled = scores / scale
    pairs = scaled.reshape(-1, 1, 1)
    common = _logistic_regression(
        pairs, labels.reshape(-1, 1), np.repeat(weights, num_regions), np.full((1, 1), scale), _WEAK_PRIOR
    )
    slope = max(float(common[0, 0]), _LOWEST_SLOPE * scale)
    if method == "temperature":
        return Calibration(method, (slope / scale,) * num_regions, (0.0,) * num_regions)
    # About a region's mean score, its slope and its log-odds are nearly independent.
    mean = scaled.mean(axis=0)
    features = np.stack([scaled - mean, np.ones_like(scaled)], axis=-1)
    centre = np.stack([np.full(num_regions, slope), slope * mean], axis=-1)
    slopes, at_mean = _logistic_regression(features, labels, weights, centre, _PRIOR).T
    slopes = np.maximum(slopes, _LOWEST_SLOPE * slope)
    return Calibration(method, tuple((slopes / scale).tolist()), tuple((at_mean - slopes * mean).tolist()))


def _logistic_regression(
    features: Float64[np.ndarray, "n K D"],
    labels: Float64[np.ndarray, "n K"],
    weights: Float64[np.ndarray, " n"],
    centre: Float64[np.ndarray, "K D"],
    precision: float,
) -> Float64[np.ndarray, "K D"]:
    """K logistic regressions at once, each with a Gaussian prior about its centre; Newton's method with short steps."""
    parameters = centre.copy()
    for _ in range(200):
        p = probabilities(np.einsum("nkd,kd->nk", features, parameters))
        residual = weights[:, None] * (p - labels)
        curved = (weights[:, None] * p * (1 - p))[..., None] * features
        gradient = np.einsum("nkd,nk->kd", features, residual) + precision * (parameters - centre)
        hessian = np.einsum("nkd,nke->kde", curved, features) + precision * np.eye(features.shape[-1])
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        step /= np.maximum(np.abs(step).max(axis=1, keepdims=True), 1)
        parameters -= step
        if np.abs(step).max() < 1e-9:
            break
    return parameters


def _log_loss(log_odds: Float64[np.ndarray, "n K"], labels: Float64[np.ndarray, "n K"]) -> Float64[np.ndarray, " n"]:
    """(n,) mean over regions of the cross-entropy."""
    return np.mean(np.logaddexp(0, log_odds) - labels * log_odds, axis=1)
