"""Counts of clips and activities, by hand."""

from __future__ import annotations

import pytest

from musclemap_jax.eval.statistics import data_statistics

CLIPS = [
    ("train", "squat", (0, 2)),
    ("train", "squat", (0,)),
    ("train", "plank", (1,)),
    ("val_known", "squat", (0, 2)),
    ("test_new", "lunge", (0, 1, 2)),
    ("val_new", "lunge", (0, 1, 2)),
]


def test_counts_by_hand():
    counts = data_statistics(CLIPS, ("leg", "core", "hip"))
    assert list(counts.splits) == ["train", "val_known", "val_new", "test_new"]
    train = counts.splits["train"]
    assert (train.num_clips, train.num_activities, train.clips_per_region) == (3, 2, (2, 1, 1))
    assert train.mean_regions == pytest.approx(4 / 3)
    # Squat counts once, with every region that one of its clips shows.
    assert counts.activities_per_region == {"known": (1, 1, 1), "new": (1, 1, 1)}
    assert counts.num_activities == {"known": 2, "new": 1}


def test_background_clips_count_as_clips_and_activities_of_no_region():
    counts = data_statistics([("train", "squat", (0,)), ("train", "standing", ())], ("leg", "core"))
    train = counts.splits["train"]
    assert (train.num_clips, train.num_activities, train.clips_per_region) == (2, 2, (1, 0))
    assert train.mean_regions == 0.5
    assert counts.activities_per_region["known"] == (1, 0)


def test_spellings_are_one_activity():
    counts = data_statistics([("train", "Sit-up", (0,)), ("train", "sit up", (1,))], ("leg", "core"))
    assert (counts.splits["train"].num_activities, counts.num_activities["known"]) == (1, 1)
    assert counts.activities_per_region["known"] == (1, 1)


def test_an_unknown_split_is_rejected():
    with pytest.raises(ValueError, match="got 'dev'"):
        data_statistics([("dev", "squat", (0,))], ("leg",))
