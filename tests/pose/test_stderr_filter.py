"""What C++ libraries log is dropped; everything else on standard error stays."""

import os
import subprocess
import sys
import threading

import pytest

from musclemap_jax.pose.stderr_filter import without_cpp_log

LOG = """\
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
W0000 00:00:1796001590.513925   19027 inference_feedback_manager.cc:114] Feedback manager requires a model
ERROR: The model is not a valid Flatbuffer buffer
I1130 09:12:01.000001 7 gl_context.cc:357] GL version: 3.2
"""
OTHERS = """\
E0000 00:00:1796001590.513925   19027 calculator_graph.cc:114] Graph has errors
W1130 09:12:01.000001 140 loop.py:35] a step was not applied
error: squat.mp4: no such file
WARNING:root:of Python's own logging
UserWarning: a warning
 42 % of the clips
"""


def test_only_the_log_is_dropped(capfd):
    with without_cpp_log():
        os.write(2, LOG.encode())
        print(OTHERS, end="", file=sys.stderr)
        subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('of a child')"], check=True)
    os.write(2, b"\nINFO: afterwards\n")
    assert capfd.readouterr().err == OTHERS + "of a child\nINFO: afterwards\n"


def test_standard_error_is_back_after_an_exception(capfd):
    def fail():
        os.write(2, b"before\n")
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), without_cpp_log():
        fail()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_threads_take_turns(capfd):
    def write(number):
        for _ in range(50):
            with without_cpp_log():
                os.write(2, f"{LOG}line of {number}\n".encode())

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"end\n")
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines[:-1]) == sorted(f"line of {number}" for number in range(4) for _ in range(50))
    assert lines[-1] == "end"
