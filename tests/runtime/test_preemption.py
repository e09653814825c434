"""Tests of runs that are asked to stop, in small processes that train nothing; real runs are in test_processes.py."""

import os
import pty
import signal
import sys
import time

import pytest

from musclemap_jax.errors import INTERRUPTED_STATUS
from tests.processes import ended, free_address, wait_for_line

STOPPED_STATUS = 75

RUN = """
import hashlib, sys, time
from musclemap_jax.runtime.barrier import barrier
from musclemap_jax.runtime.preemption import PreemptionNotice
from musclemap_jax.runtime.startup import ProcessSpec, finish_processes, start_processes
address, count, number, busy = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
notice = PreemptionNotice(stopped_status=75)
notice.listen()
peers = start_processes(ProcessSpec(address, count, number) if count > 1 else ProcessSpec(num_processes=1))
notice.share(peers)
print("started", flush=True)
if busy == "first step":
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
for step in range(10**6):
    barrier(f"step/{step}")
    time.sleep(0.01)
    if notice.reached():
        break
    print("step", step, file=sys.stderr, flush=True)
    if busy == "later step":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
print("saved", step, flush=True)
finish_processes(peers)
"""


@pytest.fixture
def run(processes):
    """A function (busy="", count=1) that starts a run, which may be busy in C in its first or in a later step."""

    def start(busy="", count=1):
        address = free_address()
        return [processes.python(RUN, address, count, number, busy) for number in range(count)]

    return start


@pytest.mark.parametrize(("count", "stop"), [(1, signal.SIGTERM), (2, signal.SIGINT), (2, signal.SIGHUP)])
def test_a_signal_to_one_lets_all_save_at_the_same_step(run, count, stop):
    processes = run(count=count)
    for process in processes:
        wait_for_line(process.stderr, "step 2")
    processes[-1].send_signal(stop)
    results = ended(processes, timeout_s=20)
    assert [status for status, _, _ in results] == [0] * count
    saved = {output.splitlines()[-1] for _, output, _ in results}
    assert len(saved) == 1
    assert saved.pop().startswith("saved ")
    assert "stopping as soon as the state is saved; press Ctrl-C again to leave at once" in results[-1][2]


@pytest.mark.parametrize(("count", "stop"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_before_the_first_step_all_leave_at_once(run, count, stop):
    processes = run("first step", count)
    for process in processes:
        wait_for_line(process.stdout, "started")
    processes[-1].send_signal(stop)
    results = ended(processes, timeout_s=20)
    assert [status for status, _, _ in results] == [STOPPED_STATUS] * count
    assert results[-1][1].startswith("\nstopped: before the first step, with nothing to save; to resume, run the same")
    assert results[-1][2] == ""
    if count == 2:
        assert "process 1 was asked to stop and left at once" in results[0][2]
        assert len(results[0][2].strip().splitlines()) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_second_ctrl_c_leaves_at_once_but_a_second_sigterm_does_not(run, count):
    processes = run("later step", count)
    for process in processes:
        wait_for_line(process.stderr, "step 0")
    processes[-1].send_signal(signal.SIGTERM)
    wait_for_line(processes[-1].stderr, "stopping")
    time.sleep(0.6)
    processes[-1].send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert all(process.poll() is None for process in processes)
    processes[-1].send_signal(signal.SIGINT)
    results = ended(processes, timeout_s=20)
    assert [status for status, _, _ in results] == [INTERRUPTED_STATUS] * count
    line = "error: left at once: what followed the newest checkpoint is lost; to resume, run the same command again"
    assert results[-1][2].strip() == line


def test_a_terminal_that_hangs_up_lets_the_run_save(processes):
    """The terminal is a real one: writing to it, as the run does all the time, is an error once it has hung up.

    The first process of a session takes over the terminal that it opens.
    """
    terminal, its_end = pty.openpty()
    on_terminal = ("sh", "-c", 'exec <> "$0" 2>&0 && exec "$@"', os.ttyname(its_end))
    command = (*on_terminal, sys.executable, "-c", RUN, "", "1", "0", "")
    process = processes.start(*command, stderr=None, start_new_session=True)
    text = b""
    while b"step 2" not in text:
        text += os.read(terminal, 1000)
    os.close(its_end)
    os.close(terminal)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert output.splitlines()[-1].startswith("saved ")
