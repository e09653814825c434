"""Which clips a report shows."""

from __future__ import annotations

import numpy as np

from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.reporting.examples import choose_examples


def test_examples_go_from_the_best_to_the_worst_clip():
    # Four regions; the one active region of clip i is ranked i-th, so its average precision is 1 / (i + 1).
    labels = np.eye(4, dtype=int)
    scores = np.tile([4.0, 3.0, 2.0, 1.0], (4, 1))
    order = [2, 0, 3, 1]
    predictions = SplitPredictions(scores, labels[order], [f"clip{i}" for i in order])
    chosen = choose_examples(predictions, 3)
    assert [predictions.clip_ids[i] for i, _ in chosen] == ["clip0", "clip2", "clip3"]
    assert chosen[0][1] == "rank 1 of 4 clips, average precision 1.00"
    assert chosen[-1][1] == "rank 4 of 4 clips, average precision 0.25"


def test_all_clips_are_chosen_if_there_are_few_but_background_is_not():
    predictions = SplitPredictions(np.zeros((3, 2)), np.array([[1, 0], [0, 0], [0, 1]]), ["b", "none", "a"])
    assert [i for i, _ in choose_examples(predictions, 9)] == [2, 0]
    assert choose_examples(predictions, 0) == []
    background = SplitPredictions(np.zeros((3, 2)), np.zeros((3, 2), int), ["a", "b", "c"])
    assert choose_examples(background, 9) == []
