"""Means, deviations and paired differences of made-up results, computed by hand."""

from __future__ import annotations

import math

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.eval.bootstrap import draw_activities
from musclemap_jax.eval.predictions import FUSED
from musclemap_jax.study.comparison import compare
from musclemap_jax.study.study import Row, Study
from tests.study.fabricated import (
    ACTIVITIES,
    CROSSED,
    PERFECT,
    REVERSED,
    clips,
    named,
    plan,
    result_of,
    study_of,
)


def test_means_and_deviations_over_seeds_by_hand(comparison):
    better, worse = comparison.rows
    assert (better.name, better.seeds) == ("better", (0, 1))
    score = better.scores[FUSED]["val_new"]
    assert score.by_seed == pytest.approx({0: 1.0, 1: 5 / 6})
    assert (score.mean, score.std) == pytest.approx((11 / 12, 1 / 6 / math.sqrt(2)))
    assert (worse.scores[FUSED]["val_new"].mean, worse.scores[FUSED]["val_new"].std) == (0.5, 0.0)
    assert better.scores["skeleton"] == better.scores[FUSED]


def test_the_paired_difference_and_its_interval_by_hand(comparison):
    better, worse = comparison.rows
    found = better.differences[FUSED]["val_new"]
    # Seed 0: 1 - 1/2, seed 1: 5/6 - 1/2.
    assert (found.mean, found.std, found.num_pairs) == pytest.approx((5 / 12, 1 / 6 / math.sqrt(2), 2))
    # With one of both activities alone, seed 1 has 1 too: the mean difference is 1/2 in these repetitions, else 5/12.
    alone = (draw_activities("val_new", ACTIVITIES)[:, 0] != 1).mean()
    assert 0.4 < alone < 0.6
    mean = alone * 1 / 2 + (1 - alone) * 5 / 12
    assert found.interval == pytest.approx((5 / 12 + (5 / 12 - mean), 5 / 12 + (1 / 2 - mean)), abs=1e-6)
    assert worse.differences == {}


def test_the_other_way_round_the_difference_has_the_other_sign(made_up):
    study, _, results = made_up
    turned = Study(rows=study.rows, seeds=study.seeds, reference="better", name="turned")
    forth = compare(study, results).rows[0].differences[FUSED]["val_new"]
    back = compare(turned, results).rows[1].differences[FUSED]["val_new"]
    assert (back.mean, back.std) == pytest.approx((-forth.mean, forth.std))
    assert back.interval == pytest.approx((-forth.interval[1], -forth.interval[0]))


def test_a_mean_of_known_and_new_by_hand(tmp_path):
    study = study_of(seeds=(0,), a=1e-3, b=2e-3)
    a, b = plan(study, tmp_path)
    results = [
        result_of(a, {"test_known": clips(REVERSED, "test_known"), "test_new": clips(REVERSED, "test_new")}),
        result_of(b, {"test_known": clips(PERFECT, "test_known"), "test_new": clips(CROSSED, "test_new")}),
    ]
    comparison = compare(study, results)
    assert comparison.splits == ("test_known", "test_new", "test_mean")
    assert comparison.chosen_by == ""
    assert [row.name for row in comparison.rows] == ["a", "b"]  # not by test
    found = comparison.rows[1].differences[FUSED]
    assert {split: each.mean for split, each in found.items()} == pytest.approx(
        {"test_known": 1 / 2, "test_new": 1 / 3, "test_mean": 5 / 12}
    )
    assert found["test_known"].interval == pytest.approx((0.5, 0.5))
    low, high = found["test_new"].interval
    # Known and new are drawn independently, and known is the same in all repetitions: half of the width is left.
    assert found["test_mean"].interval == pytest.approx((5 / 12 + (low - 1 / 3) / 2, 5 / 12 + (high - 1 / 3) / 2))
    assert math.isnan(found["test_mean"].std)


def test_pairs_are_of_the_same_seed_and_the_same_clips(made_up):
    study, _, results = made_up
    by_name = {(result.row, result.seed): result for result in results}
    one_pair = compare(study, [by_name["better", 0], by_name["better", 1], by_name["worse", 1]])
    found = one_pair.rows[0].differences[FUSED]["val_new"]
    assert (found.mean, found.num_pairs) == (pytest.approx(1 / 3), 1)
    assert one_pair.num_missing == 1
    worse = by_name["worse", 1]
    for other in (
        named(worse, clips={"val_new": worse.clips["val_new"]._replace(clip_ids=list("abcd"))}),
        named(worse, regions=("arm",)),
        named(worse, seed=9),
    ):
        assert compare(study, [by_name["better", 1], other]).rows[0].differences == {}


def test_rows_are_in_the_order_of_validation(made_up):
    study, _, results = made_up
    comparison = compare(study, results)
    assert (comparison.chosen_by, [row.name for row in comparison.rows]) == ("val_new", ["better", "worse"])
    only_worse = compare(study, [result for result in results if result.row == "worse"])
    assert [row.name for row in only_worse.rows] == ["worse"]
    assert only_worse.num_missing == 2


def test_branches_are_compared_where_both_rows_have_them(tmp_path):
    rows = {"full": Row("transm3e:smoke"), "video": Row("mvitv2_s:smoke"), "skeleton": Row("hdgcn:smoke")}
    study = Study(rows=rows, seeds=(0,), name="branches")
    full, video, skeleton = plan(study, tmp_path)
    results = [
        result_of(full, {"val_new": clips(PERFECT, video=CROSSED, skeleton=REVERSED)}),
        result_of(video, {"val_new": clips(REVERSED)}),
        result_of(skeleton, {"val_new": clips(CROSSED)}),
    ]
    comparison = compare(study, results)
    assert comparison.branches == (FUSED, "video", "skeleton")
    found = {
        row.name: {branch: of_branch["val_new"].mean for branch, of_branch in row.differences.items()}
        for row in comparison.rows
    }
    assert found == {
        "full": {},
        "video": pytest.approx({FUSED: -1 / 2, "video": -1 / 3}),
        "skeleton": pytest.approx({FUSED: -1 / 6, "skeleton": 1 / 3}),
    }


def test_clips_without_activities_have_no_interval(tmp_path):
    study = study_of(seeds=(0,), a=1e-3, b=2e-3)
    results = [
        result_of(run, {"val_new": clips(scores)._replace(activities=())})
        for run, scores in zip(plan(study, tmp_path), (REVERSED, PERFECT), strict=True)
    ]
    found = compare(study, results).rows[0].differences[FUSED]["val_new"]
    assert (found.mean, found.interval) == (0.5, None)


def test_chance_is_named_where_all_rows_have_the_same(made_up):
    study, _, results = made_up
    comparison = compare(study, results)
    assert comparison.chance == {"val_new": pytest.approx(results[0].chance["val_new"])}
    other = named(results[0], chance={"val_new": 0.1})
    assert compare(study, [other, *results[1:]]).chance == {}


def test_results_of_different_data_are_not_compared(tmp_path):
    """Two renderings of the same activities have the same clip ids and labels."""
    study = study_of(reference=1e-3, other=2e-3)
    results = [
        result_of(run, {"val_new": clips(PERFECT, baselines={"linear_joints": beside})})
        for run, beside in zip(plan(study, tmp_path), (PERFECT, PERFECT, REVERSED, PERFECT), strict=True)
    ]
    with pytest.raises(
        UserError, match=r"are of different data: on val_new, linear_joints reads 100\.0 beside one and 50\.0"
    ):
        compare(study, results)


def test_linear_models_are_rows_beside_the_others(tmp_path):
    """Of two runs of the reference, with seeds 0 and 1, beside which the same linear model stands."""
    study = study_of(reference=1e-3, other=2e-3)
    scores = {("reference", 0): REVERSED, ("reference", 1): CROSSED, ("other", 0): PERFECT, ("other", 1): PERFECT}
    beside = {"linear_joints": PERFECT, "linear_both": REVERSED, "activity_lookup": CROSSED}
    results = [
        result_of(run, {"val_new": clips(scores[run.row, run.seed], baselines=beside)}) for run in plan(study, tmp_path)
    ]
    comparison = compare(study, results)
    assert [row.name for row in comparison.rows] == ["other", "reference"]
    assert comparison.num_missing == 0
    joints, both = comparison.baselines  # the lookup is told the clips' activities: it is no competitor
    assert (joints.name, both.name, joints.seeds) == ("linear_joints", "linear_both", ())
    assert (joints.scores[FUSED]["val_new"].mean, both.scores[FUSED]["val_new"].mean) == (1.0, 0.5)
    found = joints.differences[FUSED]["val_new"]
    # 1 - 1/2 and 1 - 5/6.
    assert (found.mean, found.num_pairs, found.std) == pytest.approx((1 / 3, 2, 1 / 3 / math.sqrt(2)))
    assert found.interval is not None
    assert both.differences[FUSED]["val_new"].mean == pytest.approx(-1 / 6)
    without = compare(study, [result for result in results if result.row == "other"]).baselines
    assert [row.name for row in without] == ["linear_joints", "linear_both"]
    assert without[0].differences == {}


def test_a_study_without_results_is_empty(made_up):
    study, _, _ = made_up
    comparison = compare(study, [])
    assert (comparison.rows, comparison.branches, comparison.num_missing) == ((), (), 4)
    assert comparison.baselines == ()
