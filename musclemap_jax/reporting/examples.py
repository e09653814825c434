"""Example clips of a report, chosen from the best to the worst prediction."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musclemap_jax.eval.average_precision import average_precision
from musclemap_jax.eval.predictions import SplitPredictions


@dataclasses.dataclass(frozen=True)
class Example:
    """One clip of a report.

    Attributes:
      labels: (K,) 0 or 1; all zeros for a background clip.
      probabilities: (K,) The model's probabilities, in [0, 1].
      frames: (T, H, W, 3) uint8, a few frames spread over the clip.
      skeleton: (T, P, V, 3) x and y in pixels of the frames, and score; or None.
      joint_names: V names, such as the joints of a skeleton layout.
      note: Why this clip is shown, or empty.
    """

    split: str
    clip_id: str
    activity: str
    labels: NDArray
    probabilities: NDArray
    frames: NDArray[np.uint8]
    skeleton: NDArray | None = None
    joint_names: Sequence[str] = ()
    note: str = ""


def choose_examples(predictions: SplitPredictions, count: int) -> list[tuple[int, str]]:
    """Chooses clips from the best to the worst, so that a report shows what is typical and what fails.

    Clips are ranked by the average precision of their own regions (1 if every active region scores above all others),
    ties by name. The chosen ranks are evenly spaced and include the first and the last. Background clips, which have
    no active region, have no rank and are not chosen.

    Args:
      predictions: Predictions of one split.
      count: Number of clips to choose; all ranked clips if there are fewer.

    Returns:
      (position in the predictions, note on the rank) of each, best first.
    """
    every_region = np.ones(predictions.scores.shape[1], bool)
    quality = [
        average_precision(scores, labels, every_region)
        for scores, labels in zip(predictions.scores, predictions.labels, strict=True)
    ]
    ranked = sorted(
        (i for i, value in enumerate(quality) if not np.isnan(value)),
        key=lambda i: (-quality[i], predictions.clip_ids[i]),
    )
    ranks = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    return [
        (ranked[rank], f"rank {rank + 1} of {len(ranked)} clips, average precision {quality[ranked[rank]]:.2f}")
        for rank in ranks
    ]
