"""The tables of a made-up study, as text and as CSV."""

from __future__ import annotations

import csv
import math

import pytest

from musclemap_jax.eval.bootstrap import draw_activities
from musclemap_jax.eval.paired_bootstrap import PairedDifference
from musclemap_jax.eval.predictions import FUSED
from musclemap_jax.study.comparison import Score, compare
from musclemap_jax.study.plots import score_plots
from musclemap_jax.study.tables import (
    difference_table,
    difference_text,
    markdown,
    score_table,
    score_text,
    write_study_csv,
)
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


@pytest.fixture(scope="module")
def interval():
    """Low and high end of the made-up difference's interval (test_comparison.py computes it)."""
    alone = (draw_activities("val_new", ACTIVITIES)[:, 0] != 1).mean()
    mean = alone * 1 / 2 + (1 - alone) * 5 / 12
    return 5 / 12 + (5 / 12 - mean), 5 / 12 + (1 / 2 - mean)


def test_scores_have_their_deviation(comparison):
    header, rows = score_table(comparison, FUSED)
    assert header == ["row", "seeds", "val_new"]
    assert rows == [["better", "2", "91.7 ± 11.8"], ["worse", "2", "50.0 ± 0.0"]]


def test_differences_have_their_interval_and_deviation(comparison, interval):
    header, rows = difference_table(comparison, FUSED)
    low, high = (f"{100 * end:+.1f}" for end in interval)
    assert header == ["row", "val_new"]
    assert rows == [["better", f"+41.7 [{low}, {high}] (11.8)"]]


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Score({0: 0.5}, 0.5, math.nan), "50.0"),
        (Score({0: math.nan}, math.nan, math.nan), "–"),  # noqa: RUF001 - a dash is meant
        (None, "–"),  # noqa: RUF001 - a dash is meant
    ],
)
def test_what_is_not_defined_is_left_out_or_a_dash(score, text):
    assert score_text(score) == text


def test_a_difference_of_one_pair_without_activities_is_a_number():
    assert difference_text(PairedDifference(-0.012, math.nan, 1, None)) == "-1.2"
    assert difference_text(PairedDifference(-0.012, math.nan, 1, (-0.03, 0.01))) == "-1.2 [-3.0, +1.0]"


def test_linear_models_stand_below_the_rows_without_seeds(tmp_path):
    study = study_of(seeds=(0,), worse=1e-3, better=2e-3)
    results = [
        result_of(run, {"val_new": clips(scores, baselines={"linear_joints": CROSSED})})
        for run, scores in zip(plan(study, tmp_path), (REVERSED, PERFECT), strict=True)
    ]
    comparison = compare(study, results)
    _, rows = score_table(comparison, FUSED)
    assert rows == [
        ["better", "1", "100.0"],
        ["worse", "1", "50.0"],
        ["linear_joints", "–", "83.3"],  # noqa: RUF001 - a dash is meant
    ]
    assert [row[0] for row in score_table(comparison, "skeleton")[1]] == ["better", "worse"]
    _, differences = difference_table(comparison, FUSED)
    assert [(row[0], row[1].split(" ")[0]) for row in differences] == [("better", "+50.0"), ("linear_joints", "+33.3")]
    assert "Rows without seeds are logistic regressions on statistics of the clips' skeletons" in markdown(comparison)
    write_study_csv(tmp_path / "study.csv", comparison)
    with (tmp_path / "study.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert [last[name] for name in ("row", "branch", "seeds", "mean", "std", "difference")] == [
        "linear_joints",
        "fused",
        "0",
        "0.833333",
        "",
        "0.333333",
    ]
    (plot,) = score_plots(comparison, FUSED)
    assert [name for _, name in plot.labels] == ["better", "worse", "linear_joints"]
    assert plot.lanes[2].dots == ()


def test_markdown_has_everything_that_a_reader_needs(made_up, comparison):
    text = markdown(comparison)
    assert text.startswith("# Study made_up\n\nA made-up study.\n\n")
    assert "Rows are in the order of val_new: choices are made on validation clips." in text
    assert "Chance: val_new 68.1." in text
    assert "## The model's prediction\n\n| row " in text
    assert "## Branch skeleton\n\n| row " in text
    assert text.count("Difference from `worse`, in points:") == 2
    assert "no result yet" not in text
    assert "code versions" not in text
    study, _, results = made_up
    text = markdown(compare(study, [named(results[0], code="commit 1"), named(results[1], code="commit 2")]))
    assert "2 of the study's runs have no result yet." in text
    assert "The runs are of 2 code versions: commit 1, commit 2." in text


def test_csv_has_a_line_for_each_row_branch_and_split(comparison, tmp_path, interval):
    write_study_csv(tmp_path / "study.csv", comparison)
    with (tmp_path / "study.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["branch"], row["split"]) for row in rows] == [
        (name, branch, "val_new") for name in ("better", "worse") for branch in ("fused", "skeleton")
    ]
    better, worse = rows[0], rows[2]
    texts = ["study", "row", "branch", "split", "reference"]
    numbers = {name: float(value) for name, value in better.items() if name not in texts}
    std = 1 / 6 / math.sqrt(2)
    expected = {"seeds": 2, "mean": 11 / 12, "std": std, "pairs": 2, "difference": 5 / 12, "difference_std": std}
    assert numbers == pytest.approx(expected | {"low": interval[0], "high": interval[1]}, abs=1e-6)
    assert (better["study"], better["reference"]) == ("made_up", "worse")
    assert (worse["mean"], worse["std"]) == ("0.500000", "0.000000")
    assert [worse[name] for name in ("reference", "pairs", "difference", "low", "high")] == [""] * 5
