"""Tests of the watch that the processes of a run keep over each other, in small processes that train nothing."""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from musclemap_jax.errors import USER_ERROR_STATUS
from musclemap_jax.runtime.peers import PEER_DIED_STATUS

SCRIPT = """
import sys
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.startup import ProcessSpec, abandon_processes, finish_processes, start_processes
address, count, number, silence_s = sys.argv[1], *map(int, sys.argv[2:])
peers = start_processes(ProcessSpec(address, count, number, silence_s))
print("started", flush=True)
line = sys.stdin.readline().strip()
if line:
    abandon_processes({"fault": UserError("split train has no clips"), "bug": ValueError("a bug")}[line], peers)
finish_processes(peers)
"""
LONG_S = 300
"""A silence that no test waits for: what is noticed is noticed by the closed connection."""


@pytest.fixture
def start():
    """A function (count, silence_s=LONG_S) that starts processes and waits until they know each other."""
    with ExitStack() as opened:

        def start(count, silence_s=LONG_S):
            with socket.socket() as free:
                free.bind(("localhost", 0))
                address = f"localhost:{free.getsockname()[1]}"
            processes = [
                opened.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-c", SCRIPT, address, *map(str, (count, number, silence_s))],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
                for number in range(count)
            ]
            for process in processes:
                opened.callback(process.kill)
            assert [process.stdout.readline() for process in processes] == ["started\n"] * count
            return processes

        yield start


def ends(process):
    """Status and lines that begin with "error:"; JAX's threads may write others, before or after.

    Input stays open, so that the process exits only by itself.
    """
    status = process.wait(timeout=600)
    return status, [line for line in process.stderr.read().splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_the_others_end_with_the_number_of_the_one_that_died(start, dead):
    processes = start(3)
    processes[dead].send_signal(signal.SIGKILL)
    for number, process in enumerate(processes):
        if number != dead:
            status, (line,) = ends(process)
            assert status == PEER_DIED_STATUS, line
            assert line.startswith(f"error: process {number} of 3 on {socket.gethostname()}: process {dead} died: ")


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_process_that_is_silent_counts_as_dead(start, frozen):
    processes = start(2, silence_s=6)
    processes[frozen].send_signal(signal.SIGSTOP)
    status, (line,) = ends(processes[1 - frozen])
    assert status == PEER_DIED_STATUS
    assert f"process {frozen} died: no sign of life for 6 s" in line


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize(
    ("fault", "status", "reason"), [("fault", USER_ERROR_STATUS, "split train has no clips"), ("bug", 1, "a bug")]
)
def test_a_failure_ends_all_with_its_status_and_reason(start, failing, fault, status, reason):
    processes = start(3)
    processes[failing].stdin.write(f"{fault}\n")
    processes[failing].stdin.flush()
    for number, process in enumerate(processes):
        ended, lines = ends(process)
        assert ended == status, lines
        if number != failing:
            (line,) = lines
            assert line.endswith(f": process {failing} failed: {reason}")
        else:
            assert lines == ([f"error: {reason}"] if fault == "fault" else [])  # a bug has a traceback


def test_processes_that_are_done_exit_silently(start):
    processes = start(3)
    for process in reversed(processes):  # whichever is first waits for the others
        process.stdin.write("\n")
        process.stdin.flush()
    assert [ends(process) for process in processes] == [(0, [])] * 3
