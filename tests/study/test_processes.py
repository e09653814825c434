"""Runs as processes, with a stand-in for the main job: several at a time, failing, stopped."""

from __future__ import annotations

import json
import signal
import threading
import time

import pytest

from musclemap_jax.study.carrying_out import carry_out, unfinished_runs
from musclemap_jax.study.processes import RunProcesses
from musclemap_jax.study.result import read_result
from tests.study.fabricated import CROSSED, PERFECT, clips, fake_job, plan, study_of, write_finished_run

TIMEOUT_S = 60


@pytest.fixture
def grid(tmp_path):
    """(runs, templates) of two rows and two seeds; row `b` is perfect."""
    study = study_of(a=1e-3, b=2e-3)
    runs = plan(study, tmp_path / "study")
    for run in runs:
        template = tmp_path / "templates" / run.row / run.folder.name
        write_finished_run(template, run, {"val_new": clips(PERFECT if run.row == "b" else CROSSED)})
    return runs, tmp_path / "templates"


def wait_for(*paths):
    deadline = time.monotonic() + TIMEOUT_S
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, paths
        time.sleep(0.005)


@pytest.mark.parametrize("slots", [[{}], [{"SLOT": "0"}, {"SLOT": "1"}]])
def test_every_run_leaves_its_result(grid, slots, capsys):
    runs, templates = grid
    assert carry_out(runs, slots, RunProcesses(fake_job(templates))) == 0
    assert [read_result(run.result).scores["fused"]["val_new"] for run in runs] == pytest.approx([5 / 6, 1] * 2)
    assert unfinished_runs(runs) == []
    output = capsys.readouterr().out
    assert f"a seed 0: started, writes to {runs[0].folder / 'console.log'}\n" in output
    assert "[4/4] " in output
    assert output.count(" ms, val_new 100.0\n") + output.count(" s, val_new 100.0\n") == 2
    assert runs[0].folder.joinpath("console.log").read_text() == "first line\nlast line\n"


def test_runs_at_the_same_time_see_their_own_devices(grid):
    runs, templates = grid
    waiting = [templates / run.row / run.folder.name / "wait" for run in runs[:2]]
    for path in waiting:
        path.touch()
    slots = [{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "5"}]
    study = threading.Thread(target=carry_out, args=(runs, slots, RunProcesses(fake_job(templates))))
    study.start()
    wait_for(*(run.folder / "started" for run in runs[:2]))
    assert not (runs[2].folder / "started").exists()
    for path in waiting:
        path.unlink()
    study.join(TIMEOUT_S)
    seen = [json.loads((run.folder / "environment.json").read_text())["CUDA_VISIBLE_DEVICES"] for run in runs]
    assert sorted(seen[:2]) == ["4", "5"]
    assert set(seen[2:]) <= {"4", "5"}


def test_a_failed_run_is_reported_with_its_last_line_and_the_others_go_on(grid, capsys):
    runs, templates = grid
    failing = templates / "a" / "seed_0" / "fail"
    failing.write_text("progress 10 %\rprogress 20 %\nerror: out of memory: set a smaller batch")
    assert carry_out(runs, [{}], RunProcesses(fake_job(templates))) == 1
    output = capsys.readouterr()
    assert "[1/4] a seed 0: failed with status 3: error: out of memory: set a smaller batch\n" in output.out
    assert output.err == "error: 1 of 4 runs failed: a seed 0: see console.log of each\n"
    assert unfinished_runs(runs) == [runs[0]]

    failing.unlink()
    assert carry_out(unfinished_runs(runs), [{}], RunProcesses(fake_job(templates))) == 0
    assert unfinished_runs(runs) == []
    console = (runs[0].folder / "console.log").read_text()
    assert console.endswith("a smaller batch\n\nfirst line\nlast line\n")  # both starts


def test_a_run_that_ends_well_without_a_report_has_failed(grid, capsys):
    runs, templates = grid
    (templates / "a" / "seed_0" / "report" / "metrics.json").unlink()
    assert carry_out(runs[:1], [{}], RunProcesses(fake_job(templates))) == 1
    assert "a seed 0: failed: " in capsys.readouterr().out


def stop(grid, signals, stubborn=False):
    """Carries out the grid, two at a time, both waiting; sends the signals; returns the status."""
    runs, templates = grid
    for run in runs:
        (templates / run.row / run.folder.name / "wait").touch()
        if stubborn:
            (templates / run.row / run.folder.name / "stubborn").touch()
    processes, status = RunProcesses(fake_job(templates)), []
    study = threading.Thread(target=lambda: status.append(carry_out(runs, [{}, {}], processes)))
    study.start()
    wait_for(*(run.folder / "started" for run in runs[:2]))
    for number in signals:
        processes.stop(number)
        if stubborn:
            wait_for(*(run.folder / "saved" for run in runs[:2]))
    study.join(TIMEOUT_S)
    assert not study.is_alive()
    return status[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_study_lets_its_runs_save_and_starts_no_more(grid, number, capsys):
    runs, templates = grid
    assert stop(grid, [number]) == 130
    assert [(run.folder / "saved").exists() for run in runs] == [True, True, False, False]
    assert [(run.folder / "started").exists() for run in runs] == [True, True, False, False]
    output = capsys.readouterr()
    assert "stopped: 4 runs are not finished; to resume, run the same command again\n" in output.out
    assert output.err == ""
    for path in templates.glob("*/*/wait"):
        path.unlink()
    assert carry_out(unfinished_runs(runs), [{}], RunProcesses(fake_job(templates))) == 0


def test_the_second_ctrl_c_makes_the_runs_leave_at_once(grid):
    assert stop(grid, [signal.SIGTERM, signal.SIGINT], stubborn=True) == 130
