"""The command: a real study that is stopped, resumed, compared, and compared again on another machine."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sys
import time

import pytest

from musclemap_jax.eval.baselines import LINEAR
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.study.__main__ import main
from musclemap_jax.study.result import read_result
from tests.conftest import QUICK_COMPILATION, ROOT
from tests.processes import TIMEOUT_S, Processes


@pytest.fixture(scope="module")
def finished(smoke_data, tmp_path_factory):
    """Workdir of one row of the study `smoke`, which was stopped once, and the outputs of both calls."""
    workdir = tmp_path_factory.mktemp("study") / "smoke"
    environment = os.environ | {
        "XLA_FLAGS": QUICK_COMPILATION,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("xla")),
    }
    command = [sys.executable, "-m", "musclemap_jax.study", "--study=smoke", "--only=skeleton"]
    command += [f"--workdir={workdir}", f"--config.data.data_dir={smoke_data}"]
    processes, outputs = Processes(), []
    try:
        study = processes.start(*command, cwd=ROOT, env=environment)
        first = workdir / "runs" / "skeleton" / "seed_0" / "scalars.jsonl"
        deadline = time.monotonic() + TIMEOUT_S
        while not first.exists():
            assert study.poll() is None, study.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        study.send_signal(signal.SIGTERM)
        outputs.append((*study.communicate(timeout=TIMEOUT_S), study.returncode))
        study = processes.start(*command, cwd=ROOT, env=environment)
        outputs.append((*study.communicate(timeout=TIMEOUT_S), study.returncode))
    finally:
        processes.close()
    return workdir, outputs


def test_a_stopped_study_has_saved_its_run(finished):
    workdir, ((output, errors, status), _) = finished
    assert status == 130, errors
    assert "2 runs, 0 of them finished" in output
    assert "skeleton seed 0: started" in output
    assert "skeleton seed 1: started" not in output
    assert "runs are not finished; to resume, run the same command again" in output.splitlines()[-1]
    assert "stopping as soon as the runs are saved" in errors
    assert "Traceback" not in errors + (workdir / "runs" / "skeleton" / "seed_0" / "console.log").read_text()


def test_the_same_command_finishes_and_compares(finished):
    workdir, (_, (output, errors, status)) = finished
    assert status == 0, errors
    results = sorted((workdir / "results").iterdir())
    assert [path.name for path in results] == ["skeleton_seed_0.json", "skeleton_seed_1.json"]
    assert all(path.stat().st_size < 30_000 for path in results)
    assert output.rstrip().endswith(f"study: {workdir / 'study.html'}")
    finished = [line for line in output.splitlines() if "finished in" in line]
    assert all("val_known" in line and "test_" not in line for line in finished)
    with (workdir / "study.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = {("skeleton", "2"), *((name, "0") for name in LINEAR)}
    assert {(row["row"], row["seeds"]) for row in rows} == expected
    assert {row["split"] for row in rows} >= {"val_mean", "test_known", "test_new"}
    assert all(0 < float(row["mean"]) <= 1 for row in rows)
    for seed in (0, 1):
        report = workdir / "runs" / "skeleton" / f"seed_{seed}" / "report"
        assert f"seed {seed}" in (report / "report.html").read_text()
        expected = Metrics.from_json((report / "metrics.json").read_text()).headlines()
        for split, value in read_result(results[seed]).scores["fused"].items():
            assert value == expected[split].mean_ap


def collect(workdir, *arguments):
    return main(["--study=smoke", f"--workdir={workdir}", "--collect", *arguments])


def test_results_in_a_folder_are_compared_without_the_runs(finished, tmp_path, capsys):
    workdir, _ = finished
    shutil.copytree(workdir / "results", tmp_path / "results")
    assert collect(tmp_path / "elsewhere", f"--results={tmp_path / 'results'}") == 0
    for name in ("study.md", "study.csv", "plots/test.svg"):
        assert (tmp_path / "elsewhere" / name).read_text() == (workdir / name).read_text()
    assert not (tmp_path / "elsewhere" / "runs").exists()
    assert "\n| skeleton " in capsys.readouterr().out


def test_collecting_makes_results_of_runs_that_left_none(finished, tmp_path):
    workdir, _ = finished
    shutil.copytree(workdir, tmp_path / "smoke", ignore=shutil.ignore_patterns("results", "checkpoints"))
    assert collect(tmp_path / "smoke") == 0
    for path in (workdir / "results").iterdir():
        assert (tmp_path / "smoke" / "results" / path.name).read_text() == path.read_text()


def test_a_changed_configuration_ends_with_one_line_that_names_the_key(finished, capsys):
    workdir, _ = finished
    assert collect(workdir, "--config.optimizer.weight_decay=0.5") == 2
    changed = "already run with another configuration (optimizer.weight_decay was 0.05, is 0.5)"
    assert f"skeleton seed 0, and 1 more: {changed}" in capsys.readouterr().err
    assert collect(workdir, "--only=slow", "--config.optimizer.weight_decay=0.5") == 0  # which was not run
    output = capsys.readouterr()
    assert "skeleton_seed_0.json: left out, it is of another configuration (optimizer.weight_decay was" in output.err
    assert "no run is finished yet" in output.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --study, --workdir: see --help"),
        (
            ["--study=absent", "--workdir=w"],
            "--study: expected a file, found none at absent: pass a path or one of ",
        ),
        (
            ["--study=smoke", "--workdir=gs://b/w"],
            "argument --workdir: expected a local folder, got gs://b/w: see",
        ),
        (["--study=smoke", "--workdir=w", "--onyl=a"], "unexpected argument '--onyl=a': see --help"),
        (["--study=smoke", "--workdir=w", "--only=a"], "--only=a: expected one of skeleton, slow"),
        (["--study=smoke", "--workdir=w", "--parallel=0"], "--parallel=0: expected at least 1"),
        (["--study=smoke", "--workdir=w", "--config.seed=3"], "--config.seed: the seeds are the study's own"),
        (["--study=smoke", "--workdir=w", "--config.loss.tau=3"], "study smoke, row skeleton: unknown key 'tau'"),
        (["--study=smoke", "--workdir=w", "--collect", "--rerun"], "--collect runs nothing: leave out --rerun, or --c"),
    ],
)
def test_invalid_arguments_end_with_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())
