"""Runs of neighbouring repetitions, or samples.

Letters of shapes: R repetitions, K muscle regions.
"""

from __future__ import annotations

import numpy as np

RUN = 2
"""Least number of neighbouring repetitions that an alert stands on; a single one may be anything."""


def run_maximum(excess: np.ndarray) -> np.ndarray:
    """(K,) largest excess that holds over a run of repetitions, or over all if there are fewer.

    Args:
      excess: (R, K), R at least 1.
    """
    lowest = excess.min(axis=0, keepdims=True) if len(excess) < RUN else np.minimum(excess[1:], excess[:-1])
    return lowest.max(axis=0)


def all_runs(inside: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(start, end) for start, end in edges.reshape(-1, 2).tolist()]


def runs(inside: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of the runs of True that are at least `RUN` long, or as long as all of `inside`."""
    least = max(1, min(RUN, len(inside)))
    return [(start, end) for start, end in all_runs(inside) if end - start >= least]
