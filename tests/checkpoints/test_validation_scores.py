"""Which checkpoint is the best, by the validation splits that have clips."""

import math

import pytest

from musclemap_jax.checkpoints.validation_scores import ValidationScores

BOTH = {1: (0.2, 0.9), 2: (0.6, 0.4), 3: (0.5, 0.3)}
"""Step -> mAP on val_known and on val_new."""


@pytest.mark.parametrize(
    ("names", "best", "metric"),
    [
        (("val_known", "val_new", "val_mean"), 1, "val_mean/mAP"),
        (("val_known",), 2, "val_known/mAP"),
        (("val_new",), 1, "val_new/mAP"),
        ((), None, None),
    ],
)
def test_the_best_is_chosen_by_the_splits_that_were_scored(tmp_path, names, best, metric):
    scores = ValidationScores(tmp_path, writes=True)
    for step, (known, new) in BOTH.items():
        values = {"val_known": known, "val_new": new, "val_mean": (known + new) / 2}
        scores.add(step, {f"{name}/mAP": values[name] for name in names})
    again = ValidationScores(tmp_path, writes=False)
    assert (again.best(BOTH), again.best_metric(BOTH)) == (best, metric)


def test_a_score_that_is_not_a_number_decides_nothing(tmp_path):
    scores = ValidationScores(tmp_path, writes=False)
    scores.add(1, {"val_mean/mAP": math.nan, "val_new/mAP": 0.3})
    scores.add(2, {"val_mean/mAP": math.nan, "val_new/mAP": 0.2})
    assert (scores.best([1, 2]), scores.best_metric([1, 2])) == (1, "val_new/mAP")
