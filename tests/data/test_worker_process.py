"""Test that no worker is left behind."""

import signal
import subprocess
import sys

TRAINER = """
import multiprocessing, time
from musclemap_jax.data.worker_process import prepare_worker

def work():
    prepare_worker()
    print("works", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
"""


def test_a_worker_ends_when_its_trainer_is_killed(tmp_path):
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER + "    time.sleep(600)\n")
    trainer = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert trainer.stdout.readline() == "works\n"
    trainer.send_signal(signal.SIGKILL)
    # The worker holds the other end of this pipe: it closes when the worker has ended.
    trainer.communicate(timeout=60)
