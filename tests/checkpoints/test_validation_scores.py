"""Tests of the file of validation scores: it comes back, or one line says what is wrong with it."""

import pytest
from etils import epath

from musclemap_jax.checkpoints.validation_scores import BEST_METRIC, FILE, ValidationScores
from musclemap_jax.errors import UserError


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
