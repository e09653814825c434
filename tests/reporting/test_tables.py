"""Files and tables of an evaluation."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.reporting import tables
from musclemap_jax.taxonomy import MUSCLE_REGIONS


def test_metrics_json_reads_back(metrics, tmp_path):
    tables.write_metrics_json(tmp_path / "metrics.json", metrics)
    assert Metrics.from_json((tmp_path / "metrics.json").read_text()).to_json() == metrics.to_json()


def test_per_muscle_csv_holds_every_figure_and_leaves_undefined_ones_empty(metrics, tmp_path):
    tables.write_per_muscle_csv(tmp_path / "per_muscle.csv", metrics)
    with (tmp_path / "per_muscle.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["region"] for row in rows] == [*MUSCLE_REGIONS, tables.MACRO_ROW]
    for split, figures in metrics.splits.items():
        for k, row in enumerate(rows[:-1]):
            assert int(row[f"{split}_support"]) == figures.support[k]
            if figures.support[k]:
                assert float(row[f"{split}_ap"]) == pytest.approx(figures.average_precision[k], abs=1e-6)
                assert float(row[f"{split}_random"]) == pytest.approx(figures.random_floor[k], abs=1e-6)
                assert float(row[f"{split}_all_ones"]) == pytest.approx(figures.all_ones_floor[k], abs=1e-6)
        assert float(rows[-1][f"{split}_ap"]) == pytest.approx(figures.headline.mean_ap, abs=1e-6)
        assert int(rows[-1][f"{split}_support"]) == figures.num_clips
    assert rows[7]["test_new_ap"] == rows[7]["test_new_random"] == rows[7]["test_new_all_ones"] == ""
    assert rows[7]["test_new_support"] == "0"


def test_markdown_table_by_hand():
    assert tables.markdown_table(["split", "mAP"], [["a|b", "9.5"], ["c", "100.0"]]) == (
        "| split |   mAP |\n"
        "| :---- | ----: |\n"
        "| a\\|b  |   9.5 |\n"
        "| c     | 100.0 |\n"
    )  # fmt: skip


def test_headline_table_shows_floors_and_means(metrics):
    lines = tables.headline_table(metrics).splitlines()
    assert len(lines) == 2 + 6
    headline = metrics.means["test_mean"]
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells == [
        "test_mean",
        "",
        f"{100 * headline.mean_ap:.1f}",
        f"{100 * headline.random_floor:.1f}",
        f"{100 * headline.all_ones_floor:.1f}",
        f"{100 * (headline.mean_ap - headline.all_ones_floor):+.1f}",
        "",
    ]


def test_per_region_table_shows_support_of_a_region_without_a_positive(metrics):
    lines = tables.per_region_table(metrics).splitlines()
    assert len(lines) == 2 + len(MUSCLE_REGIONS) + 1
    assert lines[2 + 7].rstrip(" |").endswith("– (0)")  # noqa: RUF001 - the dash of an undefined figure


def test_predictions_come_back_from_csv_and_npz(predictions, tmp_path):
    expected = predictions["test_new"]
    csv_path, npz_path = tables.write_predictions(tmp_path / "predictions", "test_new", expected)
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
