"""Tests of the signals that ask a process to stop, sent to real processes whose main threads are busy."""

import signal
import sys
import time

import pytest

from tests.processes import wait_for_line

CATCH = """
import os, signal, sys, time
from musclemap_jax.runtime.signals import catch_stop_signals
catch_stop_signals(lambda number: os.write(1, f"{number.name}\\n".encode()))
print("ready", flush=True)
"""
BUSY = {
    "in Python": "while True: pass",
    "asleep": "time.sleep(60)",
    "in C, as in XLA's compiler": 'import hashlib; hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)',
    "in an event loop, as Orbax's": "from asyncio import sleep; from uvloop import run; run(sleep(60))",
}


@pytest.mark.parametrize("busy", BUSY.values(), ids=BUSY)
def test_each_signal_is_noticed_at_once_and_one_time(busy, processes):
    process = processes.python(CATCH + busy)
    wait_for_line(process.stdout, "ready")
    time.sleep(0.3)  # into what keeps it busy
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
        process.send_signal(number)  # a launcher that passes on what the terminal has sent to all
        assert process.stdout.readline() == f"{number.name}\n"
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "SIGINT\n"
    process.kill()
    assert process.communicate() == ("", "")


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(processes):
    process = processes.start(
        "sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", CATCH + "time.sleep(60)"
    )
    wait_for_line(process.stdout, "ready")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "SIGTERM\n"
    process.kill()
    assert process.communicate() == ("", "")
