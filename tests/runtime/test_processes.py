"""Tests of runs on several processes: one that dies, is started twice or stopped, and what is evaluated at the end."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from musclemap_jax.runtime.peers import PEER_DIED_STATUS
from tests.processes import ended, free_address

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
    """A function (*more, num_processes=2, address=None) that starts the processes of the run.

    Those that still run at the end are killed.
    """
    started = []

    def start(*more, num_processes=2, address=None, **options):
        address = address or free_address()
        flags = [f"--coordinator={address}", f"--num_processes={num_processes}"]
        num_devices = NUM_DEVICES // num_processes
        processes = [
            run_main(*arguments, *more, *flags, f"--process_id={number}", num_devices=num_devices, **options)
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


def preempted(processes, signalled, number, workdir):
    """The newest step, and status, output and errors of all processes, after some of them get a signal."""
    for process in signalled:
        process.send_signal(number)
    results = ended(processes)
    return newest(workdir), results


def starts_logged(workdir, number):
    """How often a process has connected to the others and opened its log."""
    log = workdir / "logs" / f"process_{number:03d}.log"
    return log.read_text().count(f"process {number} of 2 on") if log.exists() else 0


@pytest.fixture(scope="module")
def interrupted_beside_a_second_start(after_a_death, start, workdir):
    """The end of a second start, and the result of `preempted` for the first, whose process 1 got Ctrl-C."""
    address, before = free_address(), starts_logged(workdir, 1)
    processes = start(address=address)
    deadline = time.monotonic() + 600
    while starts_logged(workdir, 1) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = ended(start(address=address))
    wait_for_steps(workdir, 3, processes)
    return second, preempted(processes, processes[1:], signal.SIGINT, workdir)


@pytest.fixture(scope="module")
def after_ctrl_c(interrupted_beside_a_second_start):
    return interrupted_beside_a_second_start[1]


@pytest.fixture(scope="module")
def after_a_preemption_of_all(after_ctrl_c, start, workdir):
    """The result of `preempted` for both processes, which got SIGTERM."""
    processes = start()
    wait_for_steps(workdir, 3, processes)
    return preempted(processes, processes, signal.SIGTERM, workdir)


@pytest.fixture(scope="module")
def finished(after_a_preemption_of_all, start, workdir):
    """Step before, and status, output and errors of both processes, of a resumed run that finished."""
    return newest(workdir), ended(start())


def newest(workdir):
    return max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def test_the_death_of_a_process_ends_the_other_with_its_number(after_a_death):
    # Gloo may report the closed connection first, with a traceback; the last word is the product's own.
    status, errors = after_a_death
    assert status == PEER_DIED_STATUS, errors
    assert re.search(r"^error: process 0 of 2 on \S+: process 1 died: its connection closed: see", errors, re.MULTILINE)


def test_a_second_start_ends_at_once_and_the_first_goes_on(interrupted_beside_a_second_start, workdir):
    second, (step, _) = interrupted_beside_a_second_start
    for status, output, errors in second:
        assert (status, output) == (2, ""), errors
        assert len(errors.splitlines()) == 1, errors
    (_, _, errors), (_, _, other_errors) = second
    assert re.match(rf"error: {workdir}: in use by process \d+ on \S+ since .* UTC \(owner.json\): wait until", errors)
    assert re.match(
        r"error: process 1 of 2 on \S+: localhost:\d+ is used by another run \(process 0: pid", other_errors
    )
    assert step > 0


@pytest.mark.parametrize("preemption", ["after_ctrl_c", "after_a_preemption_of_all"])
def test_processes_that_are_asked_to_stop_save_and_say_so(preemption, request, workdir):
    step, results = request.getfixturevalue(preemption)
    for status, output, errors in results:
        assert status == 0, errors
        assert "to resume, run the same command again" in output
        assert "python -m musclemap_jax.main --config=configs/hdgcn.py:smoke" in output
    assert step < NUM_STEPS
    assert f"the state after step {step} of {NUM_STEPS} is saved" in results[0][1]
    assert not (workdir / "owner.json").exists()


def test_the_run_resumes_and_only_process_0_reports(finished, workdir):
    step, results = finished
    assert [status for status, _, _ in results] == [0, 0], results
    (_, output, errors), (_, other_output, other_errors) = results
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


def test_metrics_of_two_meshes_are_bit_identical(finished, start, tmp_path):
    """As they are compiled for users: without the fusion emitters, sums differ in their last bits."""
    for fsdp in (1, 2):
        flags = (f"--config.mesh.fsdp={fsdp}", f"--report_dir={tmp_path / str(fsdp)}")
        (process,) = start("--mode=eval", *flags, num_processes=1, xla_flags="--xla_cpu_use_fusion_emitters=true")
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    assert (tmp_path / "1" / "metrics.json").read_bytes() == (tmp_path / "2" / "metrics.json").read_bytes()


@pytest.mark.parametrize("num_processes", [1, 4])
def test_metrics_of_one_and_four_processes_are_bit_identical_to_those_of_two(num_processes, finished, start, workdir):
    metrics = workdir / "evaluation" / "metrics.json"
    of_two = (workdir / "report" / "metrics.json").read_bytes()
    metrics.unlink(missing_ok=True)
    processes = start("--mode=eval", num_processes=num_processes)
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    assert metrics.read_bytes() == of_two
