"""Tests of the validation scores: which step is the best, and what is wrong with a file in one line."""

import math

import pytest
from etils import epath

from musclemap_jax.checkpoints.validation_scores import BEST_METRIC, FILE, ValidationScores
from musclemap_jax.errors import UserError

BOTH = {1: (0.2, 0.9), 2: (0.6, 0.4), 3: (0.5, 0.3)}
"""Step -> mAP on val_known and on val_new."""


def test_scores_come_back(tmp_path):
    ValidationScores(epath.Path(tmp_path), writes=True).add(3, {BEST_METRIC: float("nan"), "val_known/mAP": 0.5})
    ValidationScores(epath.Path(tmp_path), writes=True).add(7, {BEST_METRIC: 0.25})
    scores = ValidationScores(epath.Path(tmp_path), writes=False)
    assert scores.has(3)
    assert scores.best([3, 7]) == 7


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"3": {"val_mean/mAP": 0.', "not JSON"),
        (b"", "not JSON"),
        (bytes(100), "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[3]", "expected a JSON object, got a list"),
        (b'{"3": 0.5}', "expected numbers by name for step '3'"),
        (b'{"3": {"val_mean/mAP": "high"}}', "expected numbers by name for step '3'"),
        (b'{"last": {}}', "expected numbers by name for step 'last'"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, content, what):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError) as caught:
        ValidationScores(epath.Path(tmp_path), writes=True)
    assert str(caught.value).startswith(f"{tmp_path / FILE}: damaged: {what}")
    assert str(caught.value).endswith(
        "restore it from a copy, or delete it, after which the best of the earlier checkpoints is unknown"
    )
    assert "\n" not in str(caught.value)


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
