"""Latency of the live mode: how old an answer is when it is made, and when the next one replaces it.

    python -m benchmarks.live [--run=RUN] [--seconds=60] [--cores=2]

A video file is played as a camera in real time, 720x1280 at 30 fps, made of the real clip in tests/data: with the pose
estimator and without. The latency is the time from the moment at which the last frame of a window was filmed until its
answer; decoding, scaling, pose estimation and the model are in it, a camera's own delay and the screen's are not. The
age is that of the newest answer, as somebody sees it who looks at any time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import FPS, write_portrait_video
from benchmarks.timing import RESULTS, write_results
from musclemap_jax.predict.live.session import Live, LiveAnswer
from musclemap_jax.predict.model import AUTO, NONE, Model, load
from musclemap_jax.runtime.compilation_cache import use_compilation_cache

PACKAGES = ("av", "jax", "mediapipe", "numpy")


def measure(model: Model, video: Path, pose: str) -> tuple[dict[str, Any], list[float]]:
    """Answers a video as if a camera filmed it.

    Returns:
      The metrics, and the latency of each answer in seconds.
    """
    with Live(model, str(video), pose=pose) as live:
        answers = list(live)
        dropped = live.dropped
    latencies = [answer.age_s(answer.answered_at) for answer in answers]
    span_s = answers[-1].answered_at - answers[0].answered_at
    metrics = {
        "latency_s": _spread(np.array(latencies)),
        "age_s": _spread(ages(answers)),
        "answers_per_s": round((len(answers) - 1) / span_s, 2),
        "dropped_frames": dropped,
    }
    return metrics, latencies


def ages(answers: list[LiveAnswer], step_s: float = 0.01) -> np.ndarray:
    """Ages in seconds of the newest answer, at every `step_s` between the first and the last answer."""
    seen = [
        np.arange(answer.answered_at, following.answered_at, step_s) - answer.filmed_at
        for answer, following in itertools.pairwise(answers)
    ]
    return np.concatenate(seen)


def _spread(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(np.percentile(values, q)), 3) for name, q in (("median", 50), ("p95", 95), ("max", 100))}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", help="the model (default: the shipped one)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the video (60)")
    parser.add_argument("--cores", type=int, help="use only as many cores (default: all)")
    parser.add_argument("--no_pose", action="store_true", help="leave the pose estimator out")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of live.json")
    arguments = parser.parse_args()
    if arguments.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-arguments.cores :])
    use_compilation_cache()
    model = load(arguments.run)
    times: dict[str, list[float]] = {}
    metrics: dict[str, Any] = {"model": model.name, "window_s": round(model.window_s, 2)}
    with tempfile.TemporaryDirectory() as folder:
        video = write_portrait_video(Path(folder) / "camera.mp4", arguments.seconds, width=720)
        for name, pose in {"without pose": NONE, "with pose": AUTO}.items():
            if pose == AUTO and arguments.no_pose:
                continue
            metrics[name], times[name] = measure(model, video, pose)
            print(name, metrics[name], flush=True)
    settings = {"seconds": arguments.seconds, "cores": len(os.sched_getaffinity(0)), "fps": FPS}
    write_results(arguments.results / "live.json", settings, times, metrics, PACKAGES)


if __name__ == "__main__":
    main()
