"""Tests of the prepared clips of a run."""

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.prepared_data import PreparedData


def test_splits_without_clips_are_logged_or_refused(caplog):
    data = PreparedData({"train": ["clip"], "val_known": ["clip"]}, {}, ("arms",))
    assert data.with_clips(("val_known", "val_new")) == ["val_known"]
    assert "split val_new has no clips and is not evaluated" in caplog.text
    with pytest.raises(UserError, match=r"config.eval.splits: none of test_known, test_new has clips: choose others"):
        data.with_clips(("test_known", "test_new"))
