"""Files and tables of an evaluation."""

from __future__ import annotations

import csv
import dataclasses
import math

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.eval.baselines import TITLES
from musclemap_jax.eval.headline import Difference
from musclemap_jax.eval.metrics import Comparison, compute_metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.reporting import tables
from musclemap_jax.taxonomy import MUSCLE_REGIONS


def test_per_muscle_csv_has_every_metric_and_leaves_undefined_ones_empty(metrics, tmp_path):
    tables.write_per_muscle_csv(tmp_path / "per_muscle.csv", metrics)
    with (tmp_path / "per_muscle.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["region"] for row in rows] == [*MUSCLE_REGIONS, tables.MACRO_ROW]
    for split, of_split in metrics.splits.items():
        for k, row in enumerate(rows[:-1]):
            assert int(row[f"{split}_support"]) == of_split.support[k]
            if of_split.support[k]:
                assert float(row[f"{split}_ap"]) == pytest.approx(of_split.average_precision[k], abs=1e-6)
                assert float(row[f"{split}_random"]) == pytest.approx(of_split.random_floor[k], abs=1e-6)
                interval = of_split.interval[k]
                expected = tuple(f"{end:.6f}" for end in interval) if interval else ("", "")
                assert (row[f"{split}_low"], row[f"{split}_high"]) == expected
                assert float(row[f"{split}_all_ones"]) == pytest.approx(of_split.all_ones_floor[k], abs=1e-6)
        assert float(rows[-1][f"{split}_ap"]) == pytest.approx(of_split.headline.mean_ap, abs=1e-6)
        assert int(rows[-1][f"{split}_support"]) == of_split.num_clips
    assert rows[7]["test_new_ap"] == rows[7]["test_new_random"] == rows[7]["test_new_all_ones"] == ""
    assert rows[7]["test_new_low"] == rows[7]["test_new_high"] == ""
    assert rows[7]["test_new_support"] == "0"


def test_per_activity_csv_has_new_activities_first_and_then_the_worst(metrics, tmp_path):
    tables.write_per_activity_csv(tmp_path / "per_activity.csv", metrics)
    with (tmp_path / "per_activity.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    splits = ["test_new", "val_new", "test_known", "val_known"]
    assert [row["split"] for row in rows] == [split for split in splits for _ in range(5)]
    for row, of_activity in zip(rows[:5], metrics.splits["test_new"].activities, strict=True):
        assert row["activity"] == of_activity.activity
        assert row["clips"] == "4"
        assert float(row["clip_ap"]) == pytest.approx(of_activity.clip_ap, abs=1e-6)
        assert row["missed"] == ";".join(of_activity.missed)
        assert row["in_their_place"] == ";".join(of_activity.in_their_place)
        assert row["regions"].split(";") == list(of_activity.regions)


def test_markdown_table_by_hand():
    assert tables.markdown_table(["split", "mAP"], [["a|b", "9.5"], ["c", "100.0"]]) == (
        "| split |   mAP |\n"
        "| :---- | ----: |\n"
        "| a\\|b  |   9.5 |\n"
        "| c     | 100.0 |\n"
    )  # fmt: skip


def test_headline_table_shows_branches_floors_and_means(metrics):
    lines = tables.headline_table(metrics).splitlines()
    assert len(lines) == 2 + 6
    titles, cells = ([cell.strip() for cell in lines[row].strip("|").split("|")] for row in (0, -1))
    own = ["split", "clips", "mAP", "95 % interval", "video", "skeleton"]
    assert titles == [*own, "random", "all ones", "above chance", "micro AP"]
    headline = metrics.means["test_mean"]
    assert cells == [
        "test_mean",
        "",
        f"{100 * headline.mean_ap:.1f}",
        f"{100 * headline.interval[0]:.1f} to {100 * headline.interval[1]:.1f}",
        f"{100 * metrics.branches['video']['test_mean'].mean_ap:.1f}",
        f"{100 * headline.all_ones_floor:.1f}",  # the skeleton branch gives every clip the same score
        f"{100 * headline.random_floor:.1f}",
        f"{100 * headline.all_ones_floor:.1f}",
        f"{100 * (headline.mean_ap - headline.random_floor):+.1f}",
        "",
    ]


def test_a_model_that_ranks_otherwise_by_its_logits_has_both_values_by_name(predictions):
    metrics = compute_metrics(predictions, MUSCLE_REGIONS, ("softmax", "logits"))
    header, _, *rows = tables.headline_table(metrics).splitlines()
    titles = [cell.strip() for cell in header.strip("|").split("|")]
    assert titles[2:5] == ["mAP (softmax)", "95 % interval", "mAP (logits)"]
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert cells[2] == f"{100 * metrics.splits['val_known'].headline.mean_ap:.1f}"
    assert cells[4] == f"{100 * metrics.other_scores['logits']['val_known'].mean_ap:.1f}" != cells[2]


def test_baselines_table_shows_each_with_the_difference_and_what_is_missing(metrics):
    floors = metrics.headlines()["test_new"]
    better, same, unknown = (
        {name: Comparison(dataclasses.replace(floors, mean_ap=mean_ap), difference) for name in metrics.headlines()}
        for mean_ap, difference in (
            (0.5, Difference(0.125, (0.1, 0.2))),
            (0.6, Difference(-0.01, (-0.05, 0.02))),
            (math.nan, Difference(math.nan)),
        )
    )
    found = {"linear_joints": better, "linear_both": same, "activity_lookup": unknown}
    table = tables.baselines_table(dataclasses.replace(metrics, baselines=found, remarks=("Something is missing.",)))
    header, _, *rows, key, remark = table.splitlines()
    titles = [cell.strip() for cell in header.strip("|").split("|")]
    assert titles == ["split", "mAP", *(TITLES[name] for name in found)]
    assert [cell.strip() for cell in rows[-1].strip("|").split("|")] == [
        "test_mean",
        f"{100 * metrics.means['test_mean'].mean_ap:.1f}",
        "50.0 (+12.5)",
        "60.0 (-1.0*)",
        "–",  # noqa: RUF001 - a dash is meant
    ]
    assert key.startswith("In brackets: mAP minus the baseline's")
    assert remark == "Something is missing."
    assert tables.baselines_table(metrics) == ""


def test_decisions_table_shows_both_coverages_beside_naming_by_frequency(decision_metrics):
    lines = tables.decisions_table(decision_metrics).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(decision_metrics.coverage)
    of_new = decision_metrics.coverage["test_new"]
    cells = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert cells == [
        "test_new",
        "5",
        "20",
        f"{100 * of_new.named.recall:.1f}",
        f"{100 * of_new.named.precision:.1f}",
        f"{of_new.named.mean_regions:.1f}",
        f"{100 * of_new.most_frequent.precision:.1f}",
        f"{of_new.most_frequent.mean_regions:.1f}",
    ]


def test_predictions_come_back_from_csv_and_npz(predictions, tmp_path):
    expected = predictions["test_new"]
    csv_path, npz_path = tables.write_predictions(tmp_path / "predictions", "test_new", expected, MUSCLE_REGIONS)
    with np.load(npz_path, allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["scores"], expected.scores)
        np.testing.assert_array_equal(stored["labels"], expected.labels)
        assert stored["clip_ids"].tolist() == list(expected.clip_ids)
        assert stored["activities"].tolist() == list(expected.activities)
        assert stored["regions"].tolist() == list(MUSCLE_REGIONS)
    with csv_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip_id"] for row in rows] == list(expected.clip_ids)
    assert rows[3]["activity"] == "activity 3"
    for row, truth, scores in zip(rows, expected.labels, expected.scores, strict=True):
        assert row["muscles"] == ";".join(str(k) for k in range(len(truth)) if truth[k])
        np.testing.assert_allclose([float(row[region]) for region in MUSCLE_REGIONS], scores, rtol=1e-5)


def test_predictions_are_read_back_with_their_branches_and_baselines(predictions, tmp_path):
    expected = predictions["test_new"]._replace(baseline_scores={"linear_both": -predictions["test_new"].scores})
    _, path = tables.write_predictions(tmp_path, "test_new", expected, MUSCLE_REGIONS)
    found, regions = tables.read_predictions(path)
    assert regions == MUSCLE_REGIONS
    assert (found.clip_ids, found.activities) == (tuple(expected.clip_ids), tuple(expected.activities))
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert list(found.branch_scores) == ["video", "skeleton"]
    for branch, scores in expected.branch_scores.items():
        np.testing.assert_array_equal(found.branch_scores[branch], scores)
    assert found.baseline_scores.keys() == {"linear_both"}
    np.testing.assert_array_equal(found.baseline_scores["linear_both"], -expected.scores)


def test_unknown_activities_are_read_back_as_none(tmp_path):
    predictions = SplitPredictions(np.zeros((1, 2)), np.zeros((1, 2), np.uint8), ["a"])
    _, path = tables.write_predictions(tmp_path, "test_new", predictions, ("leg", "core"))
    found, _ = tables.read_predictions(path)
    assert found.activities == ()
    assert found.branch_scores == {}


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"text"])
def test_absent_or_damaged_predictions_are_named(content, tmp_path):
    path = tmp_path / "predictions_test_new.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path}: not a run's predictions \(.*\): evaluate the run again"):
        tables.read_predictions(path)


def test_predictions_of_background_and_unknown_activities_have_empty_cells(tmp_path):
    predictions = SplitPredictions(np.zeros((1, 2)), np.zeros((1, 2), np.uint8), ["a"])
    csv_path, _ = tables.write_predictions(tmp_path, "test_new", predictions, ("leg", "core"))
    assert csv_path.read_text() == "clip_id,activity,muscles,leg,core\na,,,0,0\n"
