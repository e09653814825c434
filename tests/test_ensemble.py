"""Ensembles of runs by their stored predictions: metrics by hand, clips by id, and what does not go together."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax import ensemble
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.eval.score_link import log_odds
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.workdir import claim_workdir
from musclemap_jax.reporting.tables import write_predictions

REGIONS = ("biceps", "calves")
LABELS = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.uint8)
# The one ranks a clip of the first region too low, the other one of the second; the mean of both ranks all rightly.
JOINT = np.array([[3, -3], [0, -1], [1, 2], [-4, 1]], np.float32)
BONE = np.array([[2, 0.5], [4, -4], [-2, 0], [-1, 3]], np.float32)


@pytest.fixture
def make_run(tmp_path):
    """Makes a workdir with a configuration and predictions as a report stores them."""

    def make(name, scores, *, labels=LABELS, ids=None, regions=REGIONS, splits=("val_new", "test_new"), **options):
        kind, folder = options.get("kind", "sigmoid_bce"), options.get("folder", "report")
        spec = ExperimentSpec()
        spec = dataclasses.replace(spec, loss=dataclasses.replace(spec.loss, kind=kind))
        claim_workdir(tmp_path / name, spec, regions, 2.0, num_clips=10, step=None)
        ids = ids or [f"clip{number}" for number in range(len(scores))]
        activities = options.get("activities", [f"activity {clip_id}" for clip_id in ids])
        for split in splits:
            rows = SplitPredictions(scores, labels, ids, activities)
            write_predictions(tmp_path / name / folder / "predictions", split, rows, regions)
        return str(tmp_path / name)

    return make


def test_the_mean_of_two_runs_beats_both(make_run, tmp_path, capsys):
    joint, bone = make_run("joint", JOINT), make_run("bone", BONE)
    out = tmp_path / "both"
    assert ensemble.main([f"--workdirs={joint},{bone}", f"--out={out}"]) == 0
    metrics = Metrics.from_json((out / "metrics.json").read_text())
    # Ranks of the positives: joint 1 and 3, then 1 and 2; bone 1 and 2, then 1 and 3.
    assert metrics.branches["joint"]["test_new"].mean_ap == pytest.approx((5 / 6 + 1) / 2)
    assert metrics.branches["bone"]["test_new"].mean_ap == pytest.approx((1 + 5 / 6) / 2)
    assert metrics.splits["test_new"].headline.mean_ap == 1
    shown = capsys.readouterr().out
    assert "joint" in shown
    assert "100.0" in shown
    with np.load(out / "predictions" / "predictions_val_new.npz") as stored:
        np.testing.assert_allclose(stored["scores"], (JOINT + BONE) / 2, rtol=1e-6)
    assert json.loads((out / "ensemble.json").read_text()) == {"workdirs": [joint, bone], "weights": [1, 1]}
    assert (out / "per_muscle.csv").is_file()
    assert (out / "per_activity.csv").is_file()


def test_weights_and_the_link_of_each_loss_count(make_run):
    joint, bone = make_run("joint", JOINT), make_run("bone", BONE, kind="softmax_bce", folder="evaluation")
    combined = ensemble.combine([ensemble.read_member(joint), ensemble.read_member(bone)], [3, 1])
    expected = (3 * JOINT + log_odds(BONE, "softmax")) / 4
    np.testing.assert_allclose(combined["val_new"].scores, expected, rtol=1e-6)
    np.testing.assert_allclose(combined["val_new"].branch_scores["bone"], log_odds(BONE, "softmax"))


def test_clips_are_matched_by_id(make_run):
    order = [2, 0, 3, 1]
    ids = [f"clip{row}" for row in order]
    joint, bone = make_run("joint", JOINT), make_run("bone", BONE[order], labels=LABELS[order], ids=ids)
    combined = ensemble.combine([ensemble.read_member(run) for run in (joint, bone)], [1, 1])["test_new"]
    np.testing.assert_allclose(combined.scores, (JOINT + BONE) / 2, rtol=1e-6)
    assert list(combined.clip_ids) == ["clip0", "clip1", "clip2", "clip3"]
    assert combined.activities[1] == "activity clip1"


def test_a_run_alone_keeps_its_metrics(make_run):
    joint, bone = (ensemble.read_member(make_run(name, JOINT, activities=[""] * 4)) for name in ("joint", "bone"))
    combined = ensemble.combine([joint, bone], [0, 2])["test_new"]
    np.testing.assert_array_equal(combined.scores, bone.predictions["test_new"].scores)
    assert combined.activities == ()


def other_labels():
    labels = LABELS.copy()
    labels[1, 1] = 1
    return labels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": ("biceps", "quads")}, "expected a run of the 2 muscle regions of {joint}, got 2, which are not"),
        (
            {"splits": ("test_new",)},
            "expected predictions for val_new, test_new, as {joint} has, got test_new: evaluate both with the same "
            "config.eval.splits",
        ),
        (
            {"ids": ["clip0", "clip1", "clip2", "clip9"]},
            "val_new: expected the clips of {joint}, got others, such as clip3: evaluate both on the same data",
        ),
        ({"labels": other_labels()}, "val_new: clip clip1 has other labels than in {joint}"),
        ({"splits": ()}, "has no predictions in report/ or evaluation/: make them by python -m musclemap_jax.main"),
    ],
)  # fmt: skip
def test_runs_that_do_not_go_together_are_refused(make_run, capsys, options, message):
    joint, bone = make_run("joint", JOINT), make_run("bone", BONE, **options)
    assert ensemble.main([f"--workdirs={joint},{bone}"]) == 2
    shown = capsys.readouterr().err
    assert f"error: {bone}: {message.format(joint=joint)}" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdirs={joint}"], "--workdirs: expected two or more different ones joined by commas"),
        (["--workdirs={joint},{joint}"], "--workdirs: expected two or more different ones"),
        (["--workdirs={joint},nowhere"], "nowhere: no run here"),
        (["--workdirs={joint},{bone}", "--weights=1"], "--weights: expected 2 numbers, none negative and one above 0"),
        (["--workdirs={joint},{bone}", "--weights=1,-1"], "none negative"),
        (["--workdirs={joint},{bone}", "--weights=0,0"], "one above 0, with a finite sum, got '0,0'"),
        (["--workdirs={joint},{bone}", "--weights=1,nan"], "none negative"),
        (["--workdirs={joint},{bone}", "--weights=1,inf"], "with a finite sum, got '1,inf'"),
        (["--workdirs={joint},{bone}", "--weights=1e308,1e308"], "with a finite sum, got '1e308,1e308'"),
        (
            ["--workdirs={joint},{bone}", "--out={joint}"],
            "lies in {joint}, the workdir of a run: choose",
        ),
        (["--workdirs={joint},{bone}", "--out={joint}/report"], "--out={joint}/report: lies in {joint}, the workdir"),
        (["--workdirs={joint},{bone}", "--out={joint}/../bone/a/b"], "lies in {bone}, the workdir of a run"),
        (["--workdirs={joint},{bone}", "--weights=1,b"], "--weights: expected numbers joined by commas, got '1,b'"),
    ],
)
def test_impossible_arguments_are_refused(make_run, capsys, flags, message):
    runs = {name: make_run(name, scores) for name, scores in (("joint", JOINT), ("bone", BONE))}
    assert ensemble.main([flag.format(**runs) for flag in flags]) == 2
    assert message.format(**runs) in capsys.readouterr().err
    assert {path.name for run in runs.values() for path in Path(run).iterdir()} == {"config.json", "report"}


def test_damaged_predictions_are_named(make_run, tmp_path, capsys):
    joint, bone = make_run("joint", JOINT), make_run("bone", BONE)
    path = tmp_path / "bone" / "report" / "predictions" / "predictions_test_new.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert ensemble.main([f"--workdirs={joint},{bone}"]) == 2
    assert f"error: {path}: not a run's predictions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scores": np.where(BONE > 3, np.nan, BONE)},
            "not a run's predictions (its split: scores of 1 of 4 clips are",
        ),
        ({"scores": np.where(BONE > 3, np.inf, BONE)}, "expected finite scores, got infinite ones"),
        ({"scores": BONE[:, :1]}, "expected scores and labels of shape (4, 2), got (4, 1) and (4, 2)"),
        ({"scores": BONE.astype(str)}, "not a run's predictions ("),
        ({"scores": BONE[:, :1], "labels": LABELS[:, :1], "regions": np.array(["biceps"])}, "expected the 2 muscle"),
    ],
)
def test_scores_without_metrics_are_refused(make_run, tmp_path, capsys, change, message):
    joint, bone = make_run("joint", JOINT), make_run("bone", BONE)
    path = tmp_path / "bone" / "report" / "predictions" / "predictions_test_new.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | change))
    assert ensemble.main([f"--workdirs={joint},{bone}"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {path}: ")
    assert message in shown
    assert shown.count("\n") == 1
