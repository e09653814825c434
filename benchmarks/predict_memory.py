"""Memory of prediction against the length of the video: it should be flat.

    python -m benchmarks.predict_memory [--run=RUN] [--minutes=30]

Predicts videos of 1 and of 30 minutes, 320x180 at 30 fps, as whole processes and without poses.
Times are not kept, so it may run beside other work.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2

from benchmarks.clips import REAL, VIEWS
from benchmarks.measured_process import MeasuredProcess
from benchmarks.timing import RESULTS, write_results
from musclemap_jax.data.raw.video import encode_video, read_video

PACKAGES = ("av", "jax", "numpy", "simplejpeg")
FPS = 30
SIZE = (180, 320)


def write_video(path: Path, minutes: float) -> Path:
    """Writes the real clip, squeezed into the frame, again and again."""
    frames = [cv2.resize(frame, SIZE[::-1]) for frame in read_video(REAL / VIEWS[0], short_side=SIZE[0]).frames]
    encode_video(path, itertools.islice(itertools.cycle(frames), round(minutes * 60 * FPS)), FPS)
    return path


def measure(folder: Path, run: str | None, lengths: Sequence[float], results: Path) -> None:
    """Runs the benchmark and writes ``predict_memory.json``.

    Args:
      folder: Folder for the videos and their results.
      run: The model, None for the shipped one.
      lengths: Lengths of the videos in minutes.
      results: Folder of the JSON file.
    """
    ours = ["-m", "musclemap_jax.predict", "--overwrite", "--quiet", "--pose=none", f"--out={folder / 'out'}"]
    ours += [f"--run={run}"] if run else []
    peaks = {}
    for minutes in lengths:
        name = f"{minutes:g} min"
        process = MeasuredProcess([*ours, str(write_video(folder / f"{minutes:g}.mp4", minutes))])
        process()
        peaks[name] = round(process.peak_bytes / 2**20)
        print(f"{name}: {peaks[name]} MiB", flush=True)
    write_results(results / "predict_memory.json", {"run": run or "shipped"}, {}, {"peak_mib": peaks}, PACKAGES)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.predict_memory", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--run", help="the model (default: the shipped one)")
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the long video (30)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.run, (1.0, arguments.minutes), arguments.results)


if __name__ == "__main__":
    main()
