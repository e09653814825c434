"""Tests of runs on several processes: one that dies, one that is preempted, and what is evaluated at the end."""

import json
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from musclemap_jax.runtime.peers import PEER_DIED_STATUS

NUM_STEPS = 60
NUM_DEVICES = 4


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
def start(run_main, arguments):
    """A function (*more) that starts the run's processes, two by default; kills those that still run at the end."""
    started = []

    def start(*more, num_processes=2):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        flags = [f"--coordinator={address}", f"--num_processes={num_processes}"]
        num_devices = NUM_DEVICES // num_processes
        processes = [
            run_main(*arguments, *more, *flags, f"--process_id={number}", num_devices=num_devices)
            for number in range(num_processes)
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
    deadline = time.monotonic() + 600
    while not (log.exists() and log.read_text().count("\n") >= before + number):
        for process in processes:
            assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def after_a_death(start, workdir):
    """Process 0's status and errors after process 1 was killed; its silence alone would take too long to notice."""
    processes = start("--peer_timeout_s=1000")
    wait_for_steps(workdir, 7, processes)
    processes[1].send_signal(signal.SIGKILL)
    _, errors = processes[0].communicate(timeout=600)
    processes[1].communicate()
    return processes[0].returncode, errors


def preempted(processes, signalled, workdir):
    """The newest step, and status, output and errors of all processes, after some were asked to stop."""
    wait_for_steps(workdir, 3, processes)
    for process in signalled:
        process.send_signal(signal.SIGTERM)
    ended = [(process.returncode, *texts) for process in processes for texts in [process.communicate(timeout=600)]]
    return newest(workdir), ended


@pytest.fixture(scope="module")
def after_a_preemption(after_a_death, start, workdir):
    """The result of `preempted` for process 1 alone."""
    processes = start()
    return preempted(processes, processes[1:], workdir)


@pytest.fixture(scope="module")
def after_a_preemption_of_all(after_a_preemption, start, workdir):
    """The result of `preempted` for both processes."""
    processes = start()
    return preempted(processes, processes, workdir)


@pytest.fixture(scope="module")
def finished(after_a_preemption_of_all, start, workdir):
    """Step before, and status, output and errors of both processes, of a resumed run that finished."""
    steps_before = newest(workdir)
    processes = start()
    ended = [process.communicate(timeout=600) for process in processes]
    return steps_before, [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


def newest(workdir):
    return max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def test_the_death_of_a_process_ends_the_other_with_its_number(after_a_death):
    # Gloo may report the closed connection first, with a traceback; the last word is the product's own.
    status, errors = after_a_death
    assert status == PEER_DIED_STATUS, errors
    assert re.search(r"^error: process 0 of 2 on \S+: process 1 died: its connection closed: see", errors, re.MULTILINE)


@pytest.mark.parametrize("preemption", ["after_a_preemption", "after_a_preemption_of_all"])
def test_processes_that_are_asked_to_stop_save_and_say_so(preemption, request):
    step, ended = request.getfixturevalue(preemption)
    for status, output, errors in ended:
        assert status == 0, errors
        assert "to resume, run the same command again" in output
        assert "python -m musclemap_jax.main --config=configs/hdgcn.py:smoke" in output
    assert step < NUM_STEPS
    assert f"the state after step {step} of {NUM_STEPS} is saved" in ended[0][1]


def test_the_run_resumes_and_only_process_0_reports(finished, workdir):
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


@pytest.mark.parametrize("num_processes", [1, 4])
def test_metrics_of_one_and_four_processes_are_bit_identical_to_those_of_two(num_processes, finished, start, workdir):
    metrics = workdir / "evaluation" / "metrics.json"
    of_two = (workdir / "report" / "metrics.json").read_bytes()
    metrics.unlink(missing_ok=True)
    processes = start("--mode=eval", "--config.mesh.fsdp=1", num_processes=num_processes)
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    assert metrics.read_bytes() == of_two
