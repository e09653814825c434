"""Predictions and metrics of a small made-up evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_jax.eval.coverage import DecisionMetrics, assess
from musclemap_jax.eval.decisions import calibrate
from musclemap_jax.eval.metrics import Metrics, compute_metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.taxonomy import EVAL_SPLITS, MUSCLE_REGIONS, NUM_REGIONS

SIZES = {"val_known": 24, "val_new": 16, "test_known": 30, "test_new": 20}
ABSENT_REGION = 7
"""No clip of test_new shows this region."""


@pytest.fixture(scope="session")
def predictions() -> dict[str, SplitPredictions]:
    random = np.random.default_rng(3)
    of_splits = {}
    for split in EVAL_SPLITS:
        shape = (SIZES[split], NUM_REGIONS)
        labels = (random.random(shape) < 0.4).astype(np.uint8)
        labels[0] = 1
        if split == "test_new":
            labels[:, ABSENT_REGION] = 0
        scores = (random.normal(size=shape) + labels).astype(np.float32)
        clip_ids = [f"{split}_{i:03d}" for i in range(shape[0])]
        activities = [f"activity {i % 5}" for i in range(shape[0])]
        of_splits[split] = SplitPredictions(
            scores, labels, clip_ids, activities, {"video": -scores, "skeleton": np.ones(shape, np.float32)}
        )
    return of_splits


@pytest.fixture(scope="session")
def metrics(predictions) -> Metrics:
    return compute_metrics(predictions, MUSCLE_REGIONS)


@pytest.fixture(scope="session")
def decision_metrics(predictions) -> DecisionMetrics:
    decisions = calibrate(
        predictions["val_new"], MUSCLE_REGIONS, link="sigmoid", recall=0.9, split="val_new", date="2026-11-30"
    )
    return assess(decisions, predictions, np.arange(NUM_REGIONS))
