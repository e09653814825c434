"""Tests of runs on several processes: one that dies, one that is preempted, and what is evaluated at the end."""

import json
import signal
import socket
import time
from pathlib import Path

import pytest

NUM_STEPS = 60
DEVICES_PER_PROCESS = 2


@pytest.fixture(scope="module")
def arguments(smoke_data, tmp_path_factory):
    """Arguments of a run of the skeleton branch, which compiles quickly."""
    return [
        "--config=configs/hdgcn.py:smoke",
        f"--config.data.data_dir={smoke_data}",
        f"--config.train.num_steps={NUM_STEPS}",
        "--config.train.checkpoint_every=5",
        "--config.mesh.fsdp=2",
        f"--workdir={tmp_path_factory.mktemp('runs') / 'two'}",
    ]


@pytest.fixture(scope="module")
def start_two(run_main, arguments):
    """A function (*more) that starts the run's two processes; what still runs at the end is killed."""
    started = []

    def start(*more):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        flags = [f"--coordinator={address}", "--num_processes=2"]
        processes = [
            run_main(*arguments, *more, *flags, f"--process_id={number}", num_devices=DEVICES_PER_PROCESS)
            for number in range(2)
        ]
        started.extend(processes)
        return processes

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def workdir(arguments):
    return Path(arguments[-1].partition("=")[2])


def wait_for_steps(workdir, number, processes):
    """Waits until ``number`` more steps are logged."""
    log = workdir / "scalars.jsonl"
    before = log.read_text().count("\n") if log.exists() else 0
    deadline = time.monotonic() + 300
    while not (log.exists() and log.read_text().count("\n") >= before + number):
        for process in processes:
            assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def after_a_death(start_two, workdir):
    """Process 0's status, errors and seconds to its end, after process 1 was killed."""
    processes = start_two("--peer_timeout_s=8")
    wait_for_steps(workdir, 7, processes)
    processes[1].send_signal(signal.SIGKILL)
    died = time.monotonic()
    _, errors = processes[0].communicate(timeout=120)
    seconds = time.monotonic() - died
    processes[1].communicate()
    return processes[0].returncode, errors, seconds


@pytest.fixture(scope="module")
def after_a_preemption(after_a_death, start_two, workdir):
    """Status, output and errors of both processes, after process 1 alone was told to stop."""
    processes = start_two()
    wait_for_steps(workdir, 3, processes)
    processes[1].send_signal(signal.SIGTERM)
    return [(process.returncode, *ended) for process in processes for ended in [process.communicate(timeout=120)]]


@pytest.fixture(scope="module")
def finished(after_a_preemption, start_two, workdir):
    """Status, output and errors of both processes that went on to the end."""
    steps_before = newest(workdir)
    processes = start_two()
    ended = [process.communicate(timeout=300) for process in processes]
    return steps_before, [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


def newest(workdir):
    return max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def test_the_death_of_a_process_ends_the_other_with_its_number(after_a_death):
    status, errors, seconds = after_a_death
    assert status not in (0, None)
    assert "another process may have died" in errors
    unhealthy = errors.partition("tasks are unhealthy (stopped sending heartbeats):")[2]
    assert unhealthy.split()[0] == "1"
    assert seconds < 100  # 8 s of silence, and a busy machine


def test_one_process_that_is_told_to_stop_stops_both_with_a_checkpoint_and_a_line(after_a_preemption, finished):
    for status, output, errors in after_a_preemption:
        assert status == 0, errors
        assert "to go on, give the same command again" in output
        assert "python -m musclemap_jax.main --config=configs/hdgcn.py:smoke" in output
    step, _ = finished
    assert step < NUM_STEPS
    assert f"the state after step {step} of {NUM_STEPS} is saved" in after_a_preemption[0][1]


def test_the_run_goes_on_and_process_0_alone_reports(finished, workdir):
    step, ended = finished
    assert [status for status, _, _ in ended] == [0, 0], ended
    (_, output, errors), (_, other_output, other_errors) = ended
    assert "report:" in output
    assert "train:" in errors
    assert "report:" not in other_output
    assert "train:" not in other_errors
    for number in range(2):
        log = (workdir / "logs" / f"process_{number:03d}.log").read_text()
        assert f"process {number} of 2 on" in log
        assert "2 of 4 devices" in log
        assert f"resumed from step {step} of {NUM_STEPS}" in log
    rows = [json.loads(line) for line in (workdir / "scalars.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, NUM_STEPS + 1))


def test_one_process_gives_the_figures_of_two_to_the_last_bit(finished, run_main, arguments, workdir):
    metrics = workdir / "report" / "metrics.json"
    of_two = metrics.read_bytes()
    metrics.unlink()
    process = run_main(*arguments, "--mode=eval", "--config.mesh.fsdp=1", num_devices=4)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert metrics.read_bytes() == of_two
