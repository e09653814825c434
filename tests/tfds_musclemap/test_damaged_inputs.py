"""A hundred damaged inputs in one build; `python -m tests.tfds_musclemap.damaged_inputs` tries five hundred."""

from __future__ import annotations

from tests.tfds_musclemap import damaged_inputs


def test_a_hundred_damaged_inputs_are_reported_and_the_good_clips_stored():
    counts = damaged_inputs.check(count=100, seed=1, num_workers=2)
    assert sum(number for kind, number in counts.items() if not kind.endswith(" read")) == 100
    assert len(counts) > 25
