"""Tests of starts of the main job that end before the first step, in real processes."""

import re
import signal
import socket
import time

import pytest
from etils import epath

from musclemap_jax.experiment.config import resolve
from musclemap_jax.experiment.workdir import claim_workdir
from musclemap_jax.storage.workdir_lock import WorkdirLock
from tests.processes import ended, free_address, wait_for_line

HOST = socket.gethostname()


@pytest.fixture
def start(run_main, smoke_data, tmp_path):
    """A function (number, count, address, *more) that starts a process of a run in ``tmp_path / "run"``."""

    def start(number, count, address, *more):
        return run_main(
            "--config=configs/hdgcn.py:smoke",
            f"--config.data.data_dir={smoke_data}",
            f"--workdir={tmp_path / 'run'}",
            f"--coordinator={address}",
            f"--num_processes={count}",
            f"--process_id={number}",
            *more,
        )

    return start


def test_processes_without_each_other_end_with_one_line_each(start, tmp_path):
    here, there = free_address(), free_address()
    alone = [start(0, 2, here, "--connect_timeout_s=3"), start(1, 2, there, "--connect_timeout_s=3")]
    (status, _, errors), (other_status, _, other_errors) = ended(alone)
    assert (status, other_status) == (6, 6)  # a scheduler may start them again
    progress, line = errors.splitlines()
    assert progress == f"process 0 of 2 on {HOST}: waiting for process 1 to connect to {here} (2 of 3 s)"
    assert line.startswith(f"error: process 0 of 2 on {HOST}: waited 3 s for process 1 to connect to {here}: start all")
    progress, line = other_errors.splitlines()
    assert progress.startswith(f"process 1 of 2 on {HOST}: waiting for process 0 at {there} (Connection refused)")
    assert line.startswith(f"error: process 1 of 2 on {HOST}: waited 3 s for process 0 at {there} (Connection refused)")
    assert not list((tmp_path / "run").iterdir())


def test_a_second_start_in_a_workdir_ends_at_once_with_one_line_each(start, tmp_path):
    address = free_address()
    with WorkdirLock(tmp_path / "run") as lock:
        lock.acquire()
        started = time.monotonic()
        results = ended([start(number, 2, address) for number in range(2)])
        waited_s = time.monotonic() - started
    who = rf"{tmp_path}/run: in use by process \d+ on {HOST} since .* UTC \(owner.json\): wait until it has ended, or "
    for (status, output, errors), prefix in zip(results, ("", f"process 1 of 2 on {HOST}: "), strict=True):
        assert (status, output) == (2, "")
        assert re.fullmatch(rf"error: {prefix}{who}choose another --workdir\n", errors)
    assert waited_s < 60


def test_ctrl_c_during_the_compilation_ends_the_run_at_once(run_main, smoke_data, tmp_path):
    process = run_main(
        "--config=configs/hdgcn.py:smoke",
        f"--config.data.data_dir={smoke_data}",
        f"--workdir={tmp_path / 'run'}",
        "--config.optimizer.learning_rate=0.00123",  # a training step that no other test has compiled
        "--stopped_status=75",
    )
    wait_for_line(process.stdout, "parameters:")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    ((status, output, errors),) = ended([process])
    assert time.monotonic() - started < 5
    assert status == 75, errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "owner.json").exists()
    assert "stopped: before the first step, with nothing to save; to resume, run the same command again:\n" in output


def test_two_evaluations_do_not_write_into_one_folder(run_main, tmp_path):
    run = epath.Path(tmp_path / "run")
    claim_workdir(run, resolve({}), ("calves",), 2.0, num_clips=3, step=None)
    with WorkdirLock(run / "evaluation") as lock:
        lock.acquire()
        ((status, output, errors),) = ended([run_main(f"--workdir={run}", "--mode=eval")])
    assert (status, output) == (2, "")
    assert errors.startswith(f"error: {run}/evaluation: in use by process ")
    assert [path.name for path in run.iterdir() if path.name != "config.json"] == ["evaluation"]
    assert [path.name for path in (run / "evaluation").iterdir()] == []
