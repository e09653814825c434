"""The verdict, in one line."""

from __future__ import annotations

import math

import pytest

from musclemap_jax.eval.headline import Difference, Headline
from musclemap_jax.eval.metrics import Comparison, Metrics, SplitMetrics
from musclemap_jax.reporting.verdict import above_chance, verdict


def metrics_of(branches=None, baselines=None, **headlines) -> Metrics:
    splits = {name: SplitMetrics(headline, 0.5, 10, (), (), (), (), (), ()) for name, headline in headlines.items()}
    return Metrics((), splits, {}, branches or {}, baselines or {})


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


def beside(mean_ap, above, interval=None):
    return Comparison(Headline(mean_ap, 0.3, 0.3), Difference(above, interval))


def test_the_best_linear_model_that_the_model_is_not_clearly_above_is_a_warning():
    baselines = {
        "linear_joints": {"test_new": beside(0.5, 0.1, (0.05, 0.2)), "test_known": beside(0.90, 0.05, (0.01, 0.1))},
        "linear_both": {"test_new": beside(0.7, -0.1, (-0.15, -0.04)), "test_known": beside(0.94, 0.01, (-0.01, 0.03))},
        "activity_lookup": {"test_new": beside(math.nan, math.nan), "test_known": beside(1.0, -0.05, (-0.1, 0.0))},
    }
    new, known = Headline(0.6, 0.3, 0.2, (0.4, 0.8)), Headline(0.95, 0.3, 0.2)
    assert verdict(metrics_of(baselines=baselines, test_new=new, test_known=known)) == (
        "Above chance on new activities: 60.0 % mAP (95 % interval 40.0 to 80.0, chance 30.0); known: 95.0; warning: "
        "not above the linear model on joints and biomechanics on new activities (70.0); warning: not clearly above "
        "the linear model on joints and biomechanics on known activities (94.0)."
    )


def test_a_model_above_every_linear_model_has_no_warning():
    baselines = {"linear_joints": {"test_new": beside(0.5, 0.1)}, "activity_lookup": {"test_new": beside(0.9, -0.3)}}
    assert "warning" not in verdict(metrics_of(baselines=baselines, test_new=Headline(0.6, 0.3, 0.2)))
    nothing = {"linear_joints": {"test_new": beside(math.nan, math.nan)}}
    assert "warning" not in verdict(metrics_of(baselines=nothing, test_new=Headline(0.6, 0.3, 0.2)))
