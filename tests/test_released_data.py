"""The authors' files through the whole way: import, build, verification, main job, each by its command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from musclemap_jax.data.skeletons.alphapose import write_alphapose
from tests.tfds_musclemap.release import default_videos, write_release

ROOT = Path(__file__).parent.parent
NUM_FRAMES, HEIGHT, WIDTH = 8, 48, 64


def clip_frames(number):
    """(T, H, W, 3) uint8, other for each number."""
    waves = np.indices((NUM_FRAMES, HEIGHT, WIDTH)).sum(0) / 7 + number
    return (128 + 100 * np.sin(np.stack([waves, waves / 2, waves / 3], axis=-1))).astype(np.uint8)


def command(*arguments, status=0):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    options = {"capture_output": True, "text": True, "env": environment, "check": False}
    result = subprocess.run([sys.executable, "-m", *map(str, arguments)], **options)
    assert result.returncode == status, result.stderr[-2000:]
    return result.stdout


def test_a_release_goes_through_import_build_verification_and_main_job(run_main, tmp_path):
    release, raw, data, workdir = (tmp_path / name for name in ("release", "raw", "data", "run"))
    videos = default_videos(clips_per_split=2)
    write_release(release, videos, clip_frames)
    poses = tmp_path / "poses"
    for number, item in enumerate(videos):
        path = poses / Path(item.path).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        skeleton = np.random.default_rng(number).uniform(0.3, 1, (NUM_FRAMES, 1, 17, 3)) * [WIDTH, HEIGHT, 1]
        write_alphapose(path, skeleton)

    command("tfds_musclemap.import_release", f"--release={release}", f"--out={raw}", f"--skeletons={poses}")
    command("tfds_musclemap.prepare", "--config=multimodal", f"--raw_dir={raw}", f"--data_dir={data}")
    # The data is sound, but ten clips are not all of MuscleMap.
    output = command("tfds_musclemap.verify", f"--data_dir={data}", status=1)
    assert [line for line in output.splitlines() if line.startswith("fault")] == [
        "fault: release MuscleMap: expected 15,004 clips as in the paper, got 10",
        "fault: release MuscleMap: expected 135 activities as in the paper, got 4",
    ]
    process = run_main(
        "--config=configs/transm3e.py:smoke",
        f"--workdir={workdir}",
        f"--config.data.data_dir={data}",
        "--config.data.builder=multimodal",
    )
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    metrics = json.loads((workdir / "report" / "metrics.json").read_text())
    assert metrics["splits"]["test_new"]["num_clips"] == 2
