"""Made-up studies: runs that are not trained but whose results are real files."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
from etils import epath

from musclemap_jax.eval.metrics import compute_metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.workdir import claim_workdir
from musclemap_jax.reporting.tables import write_predictions
from musclemap_jax.study.result import RunResult, collect_run
from musclemap_jax.study.runs import plan_runs
from musclemap_jax.study.study import Row, Study

REGIONS = ("leg",)
ACTIVITIES = ("lunge", "lunge", "squat", "squat")
LABELS = np.array([[1], [0], [1], [0]], np.uint8)

PERFECT = (4.0, 1.0, 3.0, 2.0)
"""Average precision 1, also of each activity alone."""
CROSSED = (4.0, 3.0, 2.0, 1.0)
"""Average precision (1/1 + 2/3) / 2 = 5/6, and 1 of each activity alone."""
REVERSED = (1.0, 2.0, 3.0, 4.0)
"""Average precision (1/2 + 2/4) / 2 = 1/2, also of each activity alone."""

FAKE_JOB = Path(__file__).with_name("fake_job.py")


def clips(scores, split="val_new", baselines=None, **branch_scores):
    """Predictions of four clips of two activities and one region."""
    return SplitPredictions(
        np.array(scores, np.float32)[:, None],
        LABELS,
        [f"{split}_{number}" for number in range(4)],
        list(ACTIVITIES),
        *(
            {name: np.array(values, np.float32)[:, None] for name, values in of_kind.items()}
            for of_kind in (branch_scores, baselines or {})
        ),
    )


def study_of(seeds=(0, 1), **rows):
    """A study of rows that differ in their learning rates; row -> learning rate."""
    overrides = {name: Row("hdgcn:smoke", {"optimizer.learning_rate": rate}) for name, rate in rows.items()}
    return Study(rows=overrides, seeds=seeds, name="made_up", summary="A made-up study.")


def plan(study, workdir, **overrides):
    """The runs of a study, with results/ in its workdir."""
    return plan_runs(study, workdir, workdir / "results", overrides)


def write_finished_run(folder, run, predictions):
    """Writes into a folder what a finished run leaves in its workdir, as far as a study reads it."""
    claim_workdir(epath.Path(folder), run.spec, REGIONS, 2.0, num_clips=10, step=None)
    report = folder / "report"
    report.mkdir()
    (report / "metrics.json").write_text(compute_metrics(predictions, REGIONS).to_json())
    for split, of_split in predictions.items():
        write_predictions(report / "predictions", split, of_split, REGIONS)
    (report / "report.html").write_text("report")
    (folder / "times.json").write_text('{"sessions": [{"training": 60.0}, {"training": 30.0, "evaluation": 5.0}]}')


def result_of(run, predictions) -> RunResult:
    """The result of a finished run, made in its workdir."""
    write_finished_run(run.folder, run, predictions)
    return collect_run(run)


def named(result, **fields):
    """The result with other fields."""
    return dataclasses.replace(result, **fields)


def fake_job(templates, *behaviour):
    """A command that leaves the template of a run as its workdir; see `fake_job.py`."""
    return (sys.executable, "-S", str(FAKE_JOB), str(templates), *behaviour)
