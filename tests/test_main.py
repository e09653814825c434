"""Tests of the main job as a user starts it: from data to report, killed and resumed, and with invalid input."""

import csv
import functools
import json
import os
import random
import re
import signal
import statistics
import time

import pytest

from musclemap_jax.eval.baselines import TITLES
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.experiment.workdir import read_decisions, trained_clip_length_s, trained_spec
from musclemap_jax.taxonomy import EVAL_SPLITS, MUSCLE_REGIONS
from tests.tensorboard_events import in_scalars, shown_by_tensorboard
from tools.fault_test import differences, final_state, run_with_kills

NUM_STEPS = 40


@pytest.fixture(scope="module")
def arguments(smoke_data):
    """Arguments of a run, without its workdir."""
    return [
        "--config=configs/transm3e.py:smoke",
        f"--config.data.data_dir={smoke_data}",
        f"--config.train.num_steps={NUM_STEPS}",
        "--config.train.checkpoint_every=3",
    ]


@pytest.fixture(scope="module")
def finished_run(run_main, arguments, tmp_path_factory):
    """Workdir and standard output of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    process = run_main(*arguments, f"--workdir={workdir}")
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return workdir, output


def scalars(workdir):
    """Logged values by step, without the timings."""
    rows = [json.loads(line) for line in (workdir / "scalars.jsonl").read_text().splitlines()]
    timed = ("train/clips_per_second", "train/data_wait_fraction", "train/step_seconds")
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


def test_a_run_leaves_metrics_tables_plots_and_a_page(finished_run):
    workdir, output = finished_run
    report = workdir / "report"
    metrics = Metrics.from_json((report / "metrics.json").read_text())
    assert tuple(metrics.splits) == EVAL_SPLITS
    assert set(metrics.branches) == {"video", "skeleton"}
    assert list(metrics.baselines) == list(TITLES)
    assert metrics.scores == "logits"
    assert metrics.other_scores == {}
    assert all(0 < scores.headline.mean_ap <= 1 for scores in metrics.splits.values())
    with (report / "per_muscle.csv").open() as table:
        regions = [row["region"] for row in csv.DictReader(table)]
    assert regions == [*MUSCLE_REGIONS, "macro mean"]
    with (report / "per_activity.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["split"] for row in rows[:1]] == ["test_new"]
    assert {(row["split"], row["activity"]) for row in rows} == {
        (split, each.activity) for split, of_split in metrics.splits.items() for each in of_split.activities
    }
    page = (report / "report.html").read_text()
    assert "data:image/" in page
    assert f" · seed 0 · {workdir} · " in page
    assert re.search(r" · (commit [0-9a-f]{7,}|version \S+)", page)
    assert f"{NUM_STEPS} of {NUM_STEPS} steps · scored: newest checkpoint, step {NUM_STEPS}" in page
    assert 'href="../scalars.jsonl"' in page
    assert len(list((report / "plots").glob("*.png"))) >= 3
    assert list((workdir / "tensorboard").glob("events.out.tfevents.*"))
    assert "process 0 of 1 on" in (workdir / "logs" / "process_000.log").read_text()
    assert "skeleton" in output
    assert "total" in output
    assert str(report / "report.html") in output
    assert all(title in output and title in page for title in TITLES.values())


def test_a_run_leaves_decisions_and_what_prediction_needs_of_the_data(finished_run, smoke_data):
    workdir, output = finished_run
    decisions = read_decisions(workdir)
    assert decisions.regions == MUSCLE_REGIONS
    assert (decisions.split, decisions.recall, decisions.link) == ("val_new", 0.9, "sigmoid")
    metrics = Metrics.from_json((workdir / "report" / "metrics.json").read_text()).decisions
    assert metrics.rule == decisions.rule()
    assert {"test_known", "test_new"} <= metrics.coverage.keys()
    assert decisions.rule() in output
    assert decisions.rule() in (workdir / "report" / "report.html").read_text()
    with next(smoke_data.rglob("clips.csv")).open() as table:
        train = [row for row in csv.DictReader(table) if row["split"] == "train"]
    lengths = [int(row["num_frames"]) / float(row["fps"]) for row in train]
    assert trained_clip_length_s(workdir) == statistics.median(lengths)


def test_the_log_holds_every_step_and_the_validation(finished_run):
    rows = scalars(finished_run[0])
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, NUM_STEPS + 1))
    assert losses[-1] < losses[0]
    terms = ("loss_video", "loss_skeleton", "kd_to_video", "kd_to_skeleton", "kd_to_video/unit01", "gradient_norm")
    assert all(f"train/{term}" in rows[0] for term in (*terms, "learning_rate"))
    assert [row["step"] for row in rows if "val_mean/mAP" in row] == [NUM_STEPS]
    assert {"val_known/mAP_video", "val_mean/mAP_skeleton"} <= rows[-1].keys()


def wait_for_lines(log, number, process):
    """Waits until ``number`` lines are logged."""
    deadline = time.monotonic() + 600
    while not (log.exists() and log.read_text().count("\n") >= number):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_stopped_and_killed_run_equals_an_uninterrupted_one(run_main, arguments, finished_run, tmp_path):
    workdir = tmp_path / "run"
    arguments_of_first = (*arguments, "--config.data.num_workers=2", f"--workdir={workdir}", "--stopped_status=75")
    process = run_main(*arguments_of_first, start_new_session=True)
    wait_for_lines(workdir / "scalars.jsonl", 4, process)
    os.killpg(process.pid, signal.SIGTERM)  # to its workers too, as schedulers do
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 75, errors
    step = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert 4 <= step < NUM_STEPS
    assert f"stopped: the state after step {step} of {NUM_STEPS} is saved in {workdir / 'checkpoints'}" in output
    assert output.strip().endswith(f"--workdir={workdir} --stopped_status=75")

    start = functools.partial(run_main, *arguments)
    assert run_with_kills(start, workdir, ["step", "save"], random.Random(0)) == ["step", "save"]
    assert differences(final_state(workdir), final_state(finished_run[0])) == []
    assert scalars(workdir) == scalars(finished_run[0])
    assert shown_by_tensorboard(workdir / "tensorboard") == in_scalars(workdir)
    sessions = json.loads((workdir / "times.json").read_text())["sessions"]
    assert len(sessions) >= 2
    assert all("training" in seconds for seconds in sessions)
    assert f"Time, over {len(sessions)} sessions" in (workdir / "report" / "report.html").read_text()
    metrics = [(run / "report" / "metrics.json").read_text() for run in (workdir, finished_run[0])]
    assert metrics[0] == metrics[1]
    assert not (workdir / "damaged_checkpoints").exists()


def test_a_killed_run_with_mixup_and_sgd_equals_an_uninterrupted_one(run_main, smoke_data, tmp_path):
    start = functools.partial(
        run_main,
        "--config=configs/hdgcn.py:smoke",
        "--mode=train",
        f"--config.data.data_dir={smoke_data}",
        "--config.train.num_steps=24",
        "--config.train.mixing.mixup_alpha=0.8",
        "--config.train.mixing.cutmix_alpha=1.0",
        "--config.optimizer.name=sgd",
        "--config.model.head_dropout_rate=0.5",
    )
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert run_with_kills(start, whole, [], random.Random(0)) == []
    assert run_with_kills(start, resumed, ["step"], random.Random(25)) == ["step"]  # at once after the fourth line
    assert trained_spec(whole).train.mixing.is_on
    expected = final_state(whole)
    assert differences(final_state(resumed), expected) == []
    assert scalars(resumed) == scalars(whole)
    assert [name for name in expected if "trace" in name], "the momentum is in the checkpoint"


def test_evaluation_alone_gives_the_same_metrics_beside_the_report(run_main, finished_run):
    workdir, _ = finished_run
    decisions = read_decisions(workdir)
    (workdir / "decisions.json").unlink()  # as in the workdir of an older version
    stale = workdir / "evaluation" / "predictions" / "predictions_train.csv"
    stale.parent.mkdir(parents=True)
    stale.touch()
    process = run_main(f"--workdir={workdir}", "--mode=eval", "--config.eval.batch_size=3")
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert f"scored: newest checkpoint, step {NUM_STEPS}" in output
    assert not stale.exists()
    before, after = (
        Metrics.from_json((workdir / folder / "metrics.json").read_text()) for folder in ("report", "evaluation")
    )
    for split, scores in before.splits.items():
        assert after.splits[split].headline.mean_ap == pytest.approx(scores.headline.mean_ap, abs=1e-6)
    for folder in (workdir, workdir / "evaluation"):
        assert read_decisions(folder).thresholds == pytest.approx(decisions.thresholds, abs=1e-4)


def test_a_stress_test_begins_with_the_evaluation_and_leaves_the_run_as_it_is(run_main, finished_run):
    workdir, _ = finished_run
    before = {path for path in workdir.rglob("*") if path.is_file()}
    process = run_main(f"--workdir={workdir}", "--mode=stress", "--stress=tilt,blur")
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    folder = workdir / "stress"
    assert {path for path in workdir.rglob("*") if path.is_file()} - before == {
        folder / name for name in ("stress.json", "stress.csv", "stress.html", "logs/process_000.log")
    }
    assert f"stress test: {folder / 'stress.html'}" in output
    assert "| half lost at" in output
    metrics = Metrics.from_json((workdir / "report" / "metrics.json").read_text())
    tested = json.loads((folder / "stress.json").read_text())
    assert tested["scored"] == f"newest checkpoint, step {NUM_STEPS}"
    assert list(tested["perturbations"]) == ["tilt", "blur"]
    for each in tested["perturbations"].values():
        clean = {(curve["split"], curve["branch"]): curve["mAP"][0] for curve in each["curves"]}
        assert {split for split, _ in clean} == {"test_known", "test_new", "test_mean"}
        for split, headline in metrics.headlines().items():
            if split.startswith("test"):
                assert clean[split, "fused"] == pytest.approx(headline.mean_ap, abs=1e-6)
                for branch, of_branch in metrics.branches.items():
                    assert clean[split, branch] == pytest.approx(of_branch[split].mean_ap, abs=1e-6)
    of_skeleton = [curve for curve in tested["perturbations"]["blur"]["curves"] if curve["branch"] == "skeleton"]
    assert len(of_skeleton) == 3
    assert all(len(set(curve["mAP"])) == 1 for curve in of_skeleton)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--mode=stress", "--stress=blurr"],
            "error: --stress: expected perturbations, got 'blurr': try blur",
        ),
        (["--stress=blur"], "error: --stress and --stress_splits belong to --mode=stress, got --mode=train_and_eval"),
    ],
)
def test_an_invalid_stress_test_ends_with_one_line_and_status_2(run_main, finished_run, flags, message):
    process = run_main(f"--workdir={finished_run[0]}", *flags)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    assert errors.strip() == message


def test_a_workdir_of_another_configuration_is_refused(run_main, arguments, finished_run):
    workdir, _ = finished_run
    process = run_main(*arguments, f"--workdir={workdir}", "--config.optimizer.learning_rate=0.5")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    assert "optimizer.learning_rate was 0.003, is 0.5" in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("invalid_arguments", "message"),
    [
        (
            ["--config=configs/transm3e.py:smoke", "--config.train.batchsize=4"],
            "error: unknown key 'batchsize': did you",
        ),
        (["--config=configs/transm3e.py:tiny"], "config variant 'tiny'"),
        (["--config=configs/absent.py"], "absent.py"),
        (["--config=configs/transm3e.py:smoke", "--config.optimizer.warmup_fraction=2.0"], "warmup_fraction"),
        (["--config=configs/transm3e.py:smoke", "--config.train.batch_size=four"], "batch_size"),
        ([], "no run here, and no --config: name the workdir of a run, or pass --config"),
        (["--mode=eval", "--config.eval.num_views=2"], "no run here, and no --config"),
        (["--mode=eval", "--config=configs/transm3e.py:smoke"], "run: no run here: train first, or name the workdir"),
        (["--config=configs/transm3e.py:smoke", "--num_processes=-1"], "error: flag --num_processes=-1: "),
        (["--config=configs/transm3e.py:smoke", "--stopped_status=300"], "error: flag --stopped_status=300: "),
        (["--config=configs/transm3e.py:smoke", "--stopped_status=-5"], "error: flag --stopped_status=-5: "),
        (["--config=configs/transm3e.py:smoke", "stray"], "error: unexpected argument 'stray': flags are written --na"),
    ],
)
def test_an_invalid_configuration_ends_with_one_line_and_status_2(run_main, tmp_path, invalid_arguments, message):
    process = run_main(*invalid_arguments, f"--workdir={tmp_path / 'run'}")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2, errors
    assert message in errors
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--report_dir={file}/report",
            "error: --report_dir={file}/report: cannot be made: Not a directory: pass another",
        ),
        (
            "--config.data.data_dir={file}",
            "error: {file}/musclemap/synthetic_smoke/4.0.0: the build could not write: Not",
        ),
    ],
)
def test_a_file_in_place_of_a_folder_is_refused_before_the_training(run_main, arguments, tmp_path, flag, message):
    file = tmp_path / "file"
    file.touch()
    process = run_main(*arguments, f"--workdir={tmp_path / 'run'}", flag.format(file=file))
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2, errors
    assert errors.splitlines()[-1].startswith(message.format(file=file))
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "config.json").exists()


def test_absent_data_names_the_builder_the_licence_and_the_synthetic_variant(run_main, tmp_path):
    process = run_main(
        "--config=configs/transm3e.py", f"--workdir={tmp_path / 'run'}", f"--config.data.data_dir={tmp_path / 'data'}"
    )
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    line = errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    for word in ("tfds build", "licence", "--config=configs/transm3e.py:synthetic"):
        assert word in line
