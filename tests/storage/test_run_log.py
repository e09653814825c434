"""The run log: TensorBoard shows each row of ``scalars.jsonl`` once, however often the run was killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from musclemap_jax.storage.run_log import RunLog
from musclemap_jax.storage.run_times import RunTimes
from tests.tensorboard_events import in_scalars, shown_by_tensorboard

SESSION = """
import os, signal, sys
from musclemap_jax.storage.run_log import RunLog
workdir, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
log = RunLog(workdir, first)
for step in range(first + 1, last + 1):
    log.scalars(step, {"train/loss": 1 / step, "train/skipped": 0.0})
    if step % 2 == 0:
        log.scalars(step, {"val_mean/mAP": step / 10})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kills_and_resumes_lose_no_row_and_double_none(tmp_path):
    for first, last in [(0, 3), (0, 5), (4, 7), (6, 10)]:
        killed = subprocess.run([sys.executable, "-c", SESSION, tmp_path, str(first), str(last)], check=False)
        assert killed.returncode == -signal.SIGKILL
    shown = shown_by_tensorboard(tmp_path / "tensorboard")
    assert shown == in_scalars(tmp_path)
    assert [step for step, _ in shown["train/loss"]] == list(range(1, 11))
    assert [step for step, _ in shown["val_mean/mAP"]] == [2, 4, 6, 8, 10]


def test_a_validation_that_is_repeated_after_a_resume_is_written_once(tmp_path):
    log = RunLog(tmp_path, 0)
    log.scalars(5, {"train/loss": 0.5})
    log.scalars(5, {"val_mean/mAP": 0.25})
    log.close()
    again = RunLog(tmp_path, 5)
    again.scalars(5, {"val_mean/mAP": 0.25, "val_mean/mAP_video": 0.125})
    again.close()
    lines = (tmp_path / "scalars.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert lines[2] == '{"step": 5, "val_mean/mAP_video": 0.125}'
    assert shown_by_tensorboard(tmp_path / "tensorboard") == in_scalars(tmp_path)


def test_the_times_of_training_are_saved_with_the_log(tmp_path):
    times = RunTimes(tmp_path, writes=True)
    times.end("data")
    log = RunLog(tmp_path, 0, times=times)
    log.flush()
    log.close()
    (saved,) = json.loads((tmp_path / "times.json").read_text())["sessions"]
    assert list(saved) == ["data", "training"]


def test_other_processes_write_nothing(tmp_path):
    log = RunLog(tmp_path, 0, primary=False)
    log.scalars(1, {"train/loss": 1.0})
    log.flush()
    log.close()
    assert os.listdir(tmp_path) == []
