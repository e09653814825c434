"""Metrics of an evaluation: hand-computed values, floors, means, JSON, and rejected input."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from musclemap_jax.eval.headline import Difference, Headline
from musclemap_jax.eval.metrics import Metrics, compute_metrics
from musclemap_jax.eval.named_regions import SetMetrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.eval.conftest import ABSENT_REGION

REGIONS = ("arm", "leg", "neck")
SCORES = np.array([[3.0, 1.0, 0.5], [2.0, 1.0, 0.1], [1.0, 1.0, 0.2], [0.0, 1.0, 0.3]])
# arm: positives at ranks 1 and 3; leg: all scores equal, one of four; neck: none.
LABELS = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
CLIP_IDS = ["a", "b", "c", "d"]


def metrics_of(scores, labels, clip_ids=CLIP_IDS, split="val_known"):
    return compute_metrics({split: SplitPredictions(scores, labels, clip_ids)}, REGIONS)


def test_hand_computed_metrics():
    of_split = metrics_of(SCORES, LABELS).splits["val_known"]
    arm = 0.5 * 1 + 0.5 * 2 / 3
    np.testing.assert_allclose(of_split.average_precision, [arm, 0.25, np.nan], atol=1e-15)
    assert of_split.support == (2, 1, 0)
    assert of_split.num_clips == 4
    np.testing.assert_allclose(of_split.all_ones_floor, [0.5, 0.25, np.nan], atol=1e-15)
    # One positive in four: mean of 1, 1/2, 1/3, 1/4. Two in four: mean over the six orders.
    two = np.mean([1, (1 + 2 / 3) / 2, (1 + 1 / 2) / 2, (1 / 2 + 2 / 3) / 2, (1 / 2 + 1 / 2) / 2, (1 / 3 + 1 / 2) / 2])
    np.testing.assert_allclose(of_split.random_floor, [two, 25 / 48, np.nan], atol=1e-12)
    assert of_split.headline.mean_ap == pytest.approx((arm + 0.25) / 2, abs=1e-15)
    assert of_split.headline.all_ones_floor == pytest.approx(0.375, abs=1e-15)
    assert of_split.headline.random_floor == pytest.approx((two + 25 / 48) / 2, abs=1e-12)


def test_means_are_of_known_and_new_and_need_both(metrics, predictions):
    known, new = metrics.splits["test_known"].headline, metrics.splits["test_new"].headline
    mean = metrics.means["test_mean"]
    assert mean.mean_ap == pytest.approx((known.mean_ap + new.mean_ap) / 2)
    assert mean.all_ones_floor == pytest.approx((known.all_ones_floor + new.all_ones_floor) / 2)
    assert list(metrics.headlines()) == ["val_known", "val_new", "val_mean", "test_known", "test_new", "test_mean"]
    alone = compute_metrics({"test_new": predictions["test_new"]}, MUSCLE_REGIONS)
    assert alone.means == {}
    assert list(alone.headlines()) == ["test_new"]


def test_chance_is_the_stronger_floor(metrics):
    of_split = metrics.splits["test_new"]
    assert of_split.headline.chance == of_split.headline.random_floor > of_split.headline.all_ones_floor
    assert of_split.headline.above_chance == of_split.headline.mean_ap - of_split.headline.random_floor
    np.testing.assert_equal(of_split.chance, of_split.random_floor)
    assert Headline(0.5, 0.25, 0.375).chance == 0.375


def test_intervals_are_of_the_whole_and_of_each_branch_and_need_two_activities(metrics, predictions):
    for headlines in (metrics.headlines(), *metrics.branches.values()):
        for headline in headlines.values():
            low, high = headline.interval
            assert low <= headline.mean_ap <= high
    # Every clip has the same score: what is left is the fraction of clips that show a region in the drawn activities.
    assert metrics.branches["skeleton"]["test_new"].interval != metrics.splits["test_new"].headline.interval
    of_split = metrics.splits["test_new"]
    assert of_split.interval[ABSENT_REGION] is None
    assert sum(each is None for each in of_split.interval) == 1
    one_activity = predictions["test_new"]._replace(activities=["squat"] * 20)
    alone = compute_metrics({"test_new": one_activity, "test_known": predictions["test_known"]}, MUSCLE_REGIONS)
    assert alone.splits["test_new"].headline.interval is None
    assert set(alone.splits["test_new"].interval) == {None}
    assert alone.means["test_mean"].interval is None
    assert alone.splits["test_known"].headline == metrics.splits["test_known"].headline


def test_without_activities_there_are_no_intervals_and_no_rows_by_activity():
    of_split = metrics_of(SCORES, LABELS).splits["val_known"]
    assert of_split.headline.interval is None
    assert of_split.interval == (None, None, None)
    assert of_split.activities == ()


def test_an_interval_needs_two_activities_that_show_the_region():
    predictions = SplitPredictions(SCORES, LABELS, CLIP_IDS, ["squat", "squat", "plank", "plank"])
    of_split = compute_metrics({"val_known": predictions}, REGIONS).splits["val_known"]
    assert of_split.interval[0] is not None  # a clip of each activity shows arm
    assert of_split.interval[1:] == (None, None)


def test_activities_count_for_every_clip_or_none():
    predictions = SplitPredictions(SCORES, LABELS, CLIP_IDS, ["squat"])
    with pytest.raises(ValueError, match="test_new: expected an activity of each of 4 clips or none, got 1"):
        compute_metrics({"test_new": predictions}, REGIONS)


def test_each_branch_is_scored_on_its_own():
    swapped = SCORES[[0, 2, 1, 3]]  # arm: both positives in front
    branch_scores = {"video": swapped, "skeleton": np.zeros_like(SCORES)}
    predictions = SplitPredictions(SCORES, LABELS, CLIP_IDS, branch_scores=branch_scores)
    metrics = compute_metrics({"val_known": predictions, "val_new": predictions}, REGIONS)
    fused = metrics.splits["val_known"].headline
    assert metrics.branches["video"]["val_known"].mean_ap == pytest.approx((1 + 1 / 4) / 2, abs=1e-15)
    assert metrics.branches["skeleton"]["val_known"].mean_ap == fused.all_ones_floor
    assert metrics.branches["video"]["val_mean"] == metrics.branches["video"]["val_new"]
    assert metrics.branches["video"]["val_new"].random_floor == fused.random_floor
    scalars = metrics.scalars()
    assert scalars["val_mean/mAP_video"] == pytest.approx(0.625, abs=1e-15)
    assert scalars["val_known/mAP"] == fused.mean_ap != scalars["val_known/mAP_video"]
    assert Metrics.from_json(metrics.to_json()).branches == metrics.branches


def test_a_model_of_one_branch_has_no_rows_of_branches():
    metrics = metrics_of(SCORES, LABELS)
    assert metrics.branches == {}
    assert sorted(metrics.scalars()) == ["val_known/mAP", "val_known/mAP_above_chance", "val_known/micro_AP"]


def test_scores_of_a_branch_are_checked_too():
    broken = SplitPredictions(SCORES, LABELS, CLIP_IDS, branch_scores={"video": np.full_like(SCORES, np.nan)})
    with pytest.raises(ValueError, match=r"^val_new, branch video: scores of 4 of 4 clips are NaN"):
        compute_metrics({"val_new": broken}, REGIONS)


def test_baselines_are_scored_beside_the_model_on_the_splits_that_they_know():
    swapped = SCORES[[0, 2, 1, 3]]  # arm: both positives in front
    activities = ["squat", "squat", "plank", "plank"]
    known = SplitPredictions(SCORES, LABELS, CLIP_IDS, activities, baseline_scores={"a": swapped, "lookup": SCORES})
    new = known._replace(baseline_scores={"a": swapped})
    metrics = compute_metrics({"test_known": known, "test_new": new}, REGIONS, remarks=["No skeletons."])
    model = metrics.splits["test_new"].headline.mean_ap
    of_a = metrics.baselines["a"]["test_new"]
    assert of_a.headline.mean_ap == pytest.approx((1 + 1 / 4) / 2, abs=1e-15)
    assert of_a.headline.interval is not None
    assert of_a.above.mean_ap == pytest.approx(model - 0.625, abs=1e-15)
    assert of_a.above.interval[1] <= 0
    assert metrics.baselines["a"]["test_mean"].above.mean_ap == pytest.approx(model - 0.625, abs=1e-15)
    of_lookup = metrics.baselines["lookup"]
    assert of_lookup["test_known"].above == Difference(0.0, (0.0, 0.0))
    for name in ("test_new", "test_mean"):
        assert math.isnan(of_lookup[name].headline.mean_ap)
        assert math.isnan(of_lookup[name].above.mean_ap)
        assert of_lookup[name].headline.random_floor == metrics.headlines()[name].random_floor
    text = metrics.to_json()
    assert json.loads(text)["baselines"]["lookup"]["test_new"]["headline"]["mean_ap"] is None
    again = Metrics.from_json(text)
    assert again.to_json() == text
    assert again.baselines["a"] == metrics.baselines["a"]
    assert again.remarks == ("No skeletons.",)


def test_scores_of_a_baseline_are_checked_too():
    broken = SplitPredictions(SCORES, LABELS, CLIP_IDS, baseline_scores={"a": SCORES[:, :2]})
    with pytest.raises(ValueError, match=r"^val_new, baseline a: expected scores and labels of shape \(4, 3\)"):
        compute_metrics({"val_new": broken}, REGIONS)


def test_a_softmax_is_what_counts_and_logits_are_beside_it_or_the_other_way_round():
    logits = np.array([[5.0, 5.0, -9.0], [1.0, -3.0, -9.0]])  # arm: 1/2 and 0.98 by softmax
    predictions = {
        split: SplitPredictions(
            logits, np.array([[0, 0, 0], [1, 0, 0]]), ["a", "b"], (), {"video": logits, "pose": -logits}
        )
        for split in ("val_known", "val_new")
    }
    by_softmax = compute_metrics(predictions, REGIONS, ("softmax", "logits"))
    assert by_softmax.scores == "softmax"
    assert by_softmax.splits["val_new"].headline.mean_ap == 1
    assert by_softmax.means["val_mean"].mean_ap == 1
    assert by_softmax.branches["video"]["val_new"].mean_ap == 1
    assert by_softmax.branches["pose"]["val_new"].mean_ap == 0.5
    assert {name: headline.mean_ap for name, headline in by_softmax.other_scores["logits"].items()} == {
        "val_known": 0.5,
        "val_new": 0.5,
        "val_mean": 0.5,
    }
    scalars = by_softmax.scalars()
    assert (scalars["val_mean/mAP"], scalars["val_mean/mAP_on_logits"]) == (1, 0.5)
    by_logits = compute_metrics(predictions, REGIONS, ("logits", "softmax"))
    assert by_logits.means == by_softmax.other_scores["logits"]
    assert by_logits.other_scores["softmax"]["val_mean"] == by_softmax.means["val_mean"]
    again = Metrics.from_json(by_softmax.to_json())
    assert again.to_json() == by_softmax.to_json()
    assert again.other_scores == by_softmax.other_scores


def test_order_of_clips_does_not_change_any_metric(metrics, predictions):
    order = np.random.default_rng(0).permutation(len(predictions["test_new"].clip_ids))
    scores, labels, *names = predictions["test_new"][:4]
    shuffled = SplitPredictions(scores[order], labels[order], *([of_clip[i] for i in order] for of_clip in names))
    again = compute_metrics({"test_new": shuffled}, MUSCLE_REGIONS).splits["test_new"]
    np.testing.assert_equal(again.average_precision, metrics.splits["test_new"].average_precision)
    assert again.headline == metrics.splits["test_new"].headline
    assert again.interval == metrics.splits["test_new"].interval
    assert again.activities == metrics.splits["test_new"].activities


def test_json_is_strict_and_reads_back_exactly(metrics):
    text = metrics.to_json()
    assert json.loads(text)["regions"] == list(MUSCLE_REGIONS)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)
    again = Metrics.from_json(text)
    assert again.to_json() == text
    np.testing.assert_equal(again.splits["test_new"].average_precision, metrics.splits["test_new"].average_precision)
    assert again.means == metrics.means
    assert again.splits["val_known"] == metrics.splits["val_known"]
    assert again.branches == metrics.branches
    assert math.isnan(again.splits["test_new"].average_precision[7])
    assert again.splits["test_new"].support[7] == 0


def test_json_holds_the_metrics_of_decisions(metrics, decision_metrics):
    undefined = SetMetrics(recall=math.nan, precision=math.nan, mean_regions=0.0)
    of_clips = dataclasses.replace(decision_metrics.coverage["test_new"], named=undefined)
    coverage = {**decision_metrics.coverage, "test_new": of_clips}
    decisions = dataclasses.replace(decision_metrics, coverage=coverage, guaranteed_recall=math.nan)
    with_decisions = dataclasses.replace(metrics, decisions=decisions)
    text = with_decisions.to_json()
    again = Metrics.from_json(text)
    assert again.to_json() == text
    np.testing.assert_equal(dataclasses.asdict(again.decisions), dataclasses.asdict(decisions))
    assert json.loads(text)["decisions"]["coverage"]["test_new"]["named"]["recall"] is None
    # All other numbers are as they are without decisions.
    assert dataclasses.replace(again, decisions=None).to_json() == metrics.to_json()


def test_background_clips_rank_against_every_region():
    # Clip d has no active region; without it, the positive of leg is one of three clips of equal score.
    background = metrics_of(SCORES, LABELS).splits["val_known"]
    without = metrics_of(SCORES[:3], LABELS[:3], CLIP_IDS[:3]).splits["val_known"]
    assert (background.average_precision[1], without.average_precision[1]) == (1 / 4, 1 / 3)
    assert background.support == without.support


def test_a_split_of_background_clips_only_has_no_mean_and_no_scalar():
    nothing = metrics_of(SCORES, 0 * LABELS)
    assert math.isnan(nothing.splits["val_known"].headline.mean_ap)
    assert nothing.scalars() == {}
    assert json.loads(nothing.to_json())["splits"]["val_known"]["headline"]["mean_ap"] is None


def test_scalars_have_flat_names(metrics):
    scalars = metrics.scalars()
    assert scalars["test_known/mAP"] == metrics.splits["test_known"].headline.mean_ap
    assert scalars["val_mean/mAP"] == metrics.means["val_mean"].mean_ap
    headline = metrics.splits["test_new"].headline
    assert scalars["test_new/mAP_above_chance"] == headline.mean_ap - headline.random_floor


@pytest.mark.parametrize(
    ("scores", "labels", "clip_ids", "message"),
    [
        (
            np.where(np.eye(4, 3) > 0, np.nan, SCORES),
            LABELS,
            CLIP_IDS,
            r"test_new: scores of 3 of 4 clips are NaN.*a, b, c$",
        ),
        (SCORES, LABELS, ["a", "b", "c", "b"], "test_new: clip b was scored more than once"),
        (SCORES, LABELS + 1, CLIP_IDS, r"test_new: labels must be 0 or 1, got values \[1, 2\]"),
        (SCORES[:, :2], LABELS, CLIP_IDS, r"test_new: expected .* \(4, 3\), got \(4, 2\) and \(4, 3\)"),
        (SCORES[:0], LABELS[:0], [], "test_new: no clips were scored"),
    ],
)
def test_errors_name_the_split_and_the_clip(scores, labels, clip_ids, message):
    with pytest.raises(ValueError, match=message):
        metrics_of(scores, labels, clip_ids, "test_new")
