"""Tests that a worker lives as long as its trainer: no longer, and no less."""

import os
import signal
import subprocess
import sys
import time

TRAINER = """
import multiprocessing, time
from musclemap_jax.data.worker_process import prepare_worker
from musclemap_jax.runtime.signals import catch_stop_signals

def work():
    prepare_worker()
    print("works", flush=True)
    for number in range(6000):
        time.sleep(0.1)
        print(number, flush=True)

if __name__ == "__main__":
    catch_stop_signals(lambda number: None)
    multiprocessing.get_context("spawn").Process(target=work).start()
    time.sleep(600)
"""


def test_a_worker_survives_what_asks_the_run_to_stop_and_ends_when_its_trainer_is_killed(tmp_path):
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    trainer = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert trainer.stdout.readline() == "works\n"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.killpg(trainer.pid, number)  # to both, as terminals and schedulers do
    time.sleep(0.5)
    assert [trainer.stdout.readline() for _ in range(4)] == [f"{number}\n" for number in range(4)]
    trainer.send_signal(signal.SIGKILL)
    # The worker holds the other end of this pipe: it closes when the worker has ended.
    trainer.communicate(timeout=60)
