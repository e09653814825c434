"""Tests of the watchdog, in processes of their own: it ends them."""

import subprocess
import sys
import time

from musclemap_jax.runtime.watchdog import STALLED_STATUS, Watchdog

STALL = """
import time
from musclemap_jax.runtime.watchdog import Watchdog
watchdog = Watchdog(3.0, "config.train.stall_timeout_s")
for number in range(3):
    with watchdog.waiting_for(f"the training batch of step {number}"):
        time.sleep(1.1)  # less than the timeout, which all three together exceed
print("in time", flush=True)
def batches():
    yield 1
    time.sleep(600)
for batch in watchdog.watched(batches(), "batch of val_new, number"):
    print("batch", batch, flush=True)
"""


def test_a_stall_ends_the_process_with_a_line_that_names_it():
    process = subprocess.run([sys.executable, "-c", STALL], capture_output=True, text=True, timeout=600)
    assert process.returncode == STALLED_STATUS
    assert process.stdout.splitlines() == ["in time", "batch 1"]
    line = process.stderr.strip().splitlines()[-1]
    assert line.startswith("error: process 0 of 1: stalled: waited 3 s for batch of val_new, number 2:")
    assert line.endswith("or raise config.train.stall_timeout_s")
    assert 'File "<string>"' in process.stderr  # where it waited


def test_watched_values_pass_unchanged_and_a_closed_watchdog_does_nothing():
    watchdog = Watchdog(600.0, "key")
    assert list(watchdog.watched(range(3), "number")) == [0, 1, 2]
    watchdog.close()
    closed = Watchdog(0.05, "key")
    closed.close()
    with closed.waiting_for("nothing"):
        time.sleep(0.3)
