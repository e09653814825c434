"""The verdict, in one line."""

from __future__ import annotations

import math

import pytest

from musclemap_jax.eval.metrics import Headline, Metrics, SplitMetrics
from musclemap_jax.reporting.verdict import above_chance, verdict


def metrics_of(branches=None, **headlines) -> Metrics:
    splits = {name: SplitMetrics(headline, 0.5, 10, (), (), (), (), (), ()) for name, headline in headlines.items()}
    return Metrics((), splits, {}, branches or {})


@pytest.mark.parametrize(
    ("headline", "expected"),
    [
        (Headline(0.6, 0.3, 0.2, (0.4, 0.8)), "above chance"),
        (Headline(0.6, 0.3, 0.2, (0.25, 0.8)), "not clearly above chance"),
        (Headline(0.6, 0.3, 0.2), "above chance"),
        (Headline(0.25, 0.3, 0.2, (0.1, 0.4)), "not above chance"),
        (Headline(0.25, 0.2, 0.3), "not above chance"),
        (Headline(0.3, 0.3, 0.3), "not above chance"),
    ],
)
def test_the_stronger_floor_and_the_interval_decide(headline, expected):
    assert above_chance(headline) == expected
    assert verdict(metrics_of(test_new=headline)).startswith(f"{expected.capitalize()} on new activities: ")


def test_the_line_holds_the_score_its_interval_chance_known_activities_and_a_better_branch():
    new, known = Headline(0.616, 0.322, 0.295, (0.518, 0.719)), Headline(0.965, 0.2, 0.18)
    branches = {"video": {"test_new": Headline(0.44, 0.3, 0.3)}, "skeleton": {"test_new": Headline(0.62, 0.3, 0.3)}}
    assert verdict(metrics_of(branches, test_known=known, test_new=new)) == (
        "Above chance on new activities: 61.6 % mAP (95 % interval 51.8 to 71.9, chance 32.2); known: 96.5; "
        "skeleton alone: 62.0."
    )


def test_without_new_activities_it_is_on_known_ones_and_says_validation():
    assert verdict(metrics_of(val_known=Headline(0.5, 0.25, 0.25))) == (
        "Above chance on known activities (validation): 50.0 % mAP (chance 25.0)."
    )


def test_a_split_without_regions_has_nothing_to_score():
    nothing = Headline(math.nan, math.nan, math.nan)
    assert verdict(metrics_of(test_new=nothing)) == (
        "No clip of test_new shows a muscle region, so there is nothing to score."
    )
