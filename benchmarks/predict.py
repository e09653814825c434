"""Prediction for a 1080p video, compared with the pose estimator alone.

    python -m benchmarks.predict [--run=RUN] [--seconds=60] [--turns=3] [--full_size]

The rivals are whole processes, from start to exit, on the same h264 file of 1080x1920 at 30 fps, made of the real clip
in tests/data. The peer decodes the video and estimates the pose in every frame, and does nothing else. Memory is that
of all processes of a rival together (Pss), sampled ten times a second. With `--full_size`, the paper's model at full
size (`full_size.py`) predicts the same video, too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.clips import FPS, write_portrait_video
from benchmarks.measured_process import MeasuredProcess
from benchmarks.timing import RESULTS, Run, alternate, medians, plot_bars, write_results

PACKAGES = ("av", "jax", "mediapipe", "numpy", "simplejpeg")
PEER = "peer: pose estimation alone"
OURS = "ours: predict, with pose"
VIDEO_ALONE = "ours: predict --pose=none"
FULL_SIZE = "ours: predict, the paper's full-size model"
ANSWER = "ours: predict, 2 s"

_PEER_PROGRAM = """
import sys
from musclemap_jax.data.raw.video import open_video
from musclemap_jax.pose.mediapipe_pose import open_estimator
from musclemap_jax.predict.frames import POSE_SHORT_SIDE_PX
video = open_video(sys.argv[1])
with open_estimator() as estimator:
    for number, frame in enumerate(video.frames):
        estimator.detect(frame.image(POSE_SHORT_SIDE_PX), number / video.fps)
"""


def measure(
    folder: Path, run: str | None, seconds: float, turns: int, results: Path, pose: bool, full_size: bool
) -> None:
    """Runs the benchmark and writes ``predict.json`` and ``.png``, or ``predict_full_size.json`` and ``.png``.

    Args:
      folder: Folder for the videos and what is predicted of them.
      run: The model, None for the shipped one.
      seconds: Length of the video.
      turns: Number of alternating runs, without the warm-up.
      results: Folder of the JSON file and the plot.
      pose: Whether to compare with the pose estimator, which has to be installed.
      full_size: Whether to predict with the paper's full-size model, too.
    """
    long = write_portrait_video(folder / "long.mp4", seconds, width=1080)
    short = write_portrait_video(folder / "short.mp4", 2, width=1080)
    command = ["-m", "musclemap_jax.predict", "--overwrite", "--quiet", f"--out={folder / 'out'}"]
    ours = [*command, *([f"--run={run}"] if run else [])]
    without_pose = [] if pose else ["--pose=none"]
    processes = {
        VIDEO_ALONE: MeasuredProcess([*ours, "--pose=none", str(long)]),
        ANSWER: MeasuredProcess([*ours, *without_pose, str(short)]),
    }
    if pose:
        processes |= {
            OURS: MeasuredProcess([*ours, str(long)]),
            PEER: MeasuredProcess(["-c", _PEER_PROGRAM, str(long)]),
        }
    if full_size:
        model = folder / "full_size"
        subprocess.run([sys.executable, "-m", "benchmarks.full_size", str(model)], check=True)
        processes[FULL_SIZE] = MeasuredProcess([*command, f"--run={model}", *without_pose, str(long)])
    rivals: dict[str, Run] = dict(processes)
    times = alternate(rivals, turns)
    middle = medians(times)
    metrics = {
        "seconds_of_video": seconds,
        "times_real_time": {name: round(seconds / middle[name], 2) for name in rivals if name != ANSWER},
        "first_answer_s": round(middle[ANSWER], 2),
        "peak_gib": {name: round(process.peak_bytes / 2**30, 3) for name, process in processes.items()},
    }
    if pose:
        metrics["times_the_peer"] = round(middle[OURS] / middle[PEER], 3)
    name = "predict_full_size" if full_size else "predict"
    write_results(results / f"{name}.json", {"turns": turns, "run": run or "shipped"}, times, metrics, PACKAGES)
    plot_bars(results / f"{name}.png", f"Prediction for {seconds:g} s of 1080x1920 at {FPS} fps", times)
    print(metrics)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", help="the model (default: the shipped one)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the video (60)")
    parser.add_argument("--turns", type=int, default=3, help="alternating runs (3)")
    parser.add_argument("--no_pose", action="store_true", help="leave the pose estimator out")
    parser.add_argument("--full_size", action="store_true", help="also predict with the paper's full-size model")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file and the plot")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(
            Path(folder),
            arguments.run,
            arguments.seconds,
            arguments.turns,
            arguments.results,
            not arguments.no_pose,
            arguments.full_size,
        )


if __name__ == "__main__":
    main()
