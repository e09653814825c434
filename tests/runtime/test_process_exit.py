"""Tests of how a process ends while a thread of it does not."""

import time

import pytest

EXIT = """
import sys, threading, time
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.runtime.process_exit import run_and_exit
threading.Thread(target=time.sleep, args=(600,), daemon=sys.argv[1] == "success").start()
def body():
    print("output")
    if sys.argv[1] == "bug":
        raise ValueError("a bug")
    if sys.argv[1] == "fault":
        raise UserError("no clips")
    if sys.argv[1] == "Ctrl-C":
        raise KeyboardInterrupt
run_and_exit(lambda: exit_on_user_error(body))
"""


@pytest.mark.parametrize(
    ("how", "status", "errors"),
    [("success", 0, ""), ("bug", 1, "ValueError: a bug\n"), ("fault", 2, "error: no clips\n"), ("Ctrl-C", 130, "")],
)
def test_a_failed_process_waits_for_no_thread(how, status, errors, processes):
    process = processes.python(EXIT, how)
    started = time.monotonic()
    output, lines = process.communicate(timeout=60)
    assert (process.returncode, output) == (status, "output\n")
    assert lines.endswith(errors)
    assert how == "bug" or lines == errors
    assert time.monotonic() - started < 30
