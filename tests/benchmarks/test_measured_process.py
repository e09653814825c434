"""A command as a rival: its time, its memory, its failure."""

import sys

import pytest

from benchmarks.measured_process import MeasuredProcess

MEBIBYTE = 2**20
HOLDER = "import time; block = bytearray(b'x' * (100 << 20)); time.sleep(0.6)"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_largest_memory_of_all_runs_is_kept():
    process = MeasuredProcess(["-c", HOLDER])
    assert process() > 0.6
    peak = process.peak_bytes
    assert 100 * MEBIBYTE < peak < 250 * MEBIBYTE
    process.command = [sys.executable, "-c", "pass"]
    process()
    assert process.peak_bytes == peak


def test_a_failure_is_not_a_time():
    with pytest.raises(RuntimeError, match=r"status 3: no video\n"):
        MeasuredProcess(["-c", "import sys; print('no video', file=sys.stderr); sys.exit(3)"])()
