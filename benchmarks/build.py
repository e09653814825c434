"""Preparing a data set, compared with only decoding and JPEG-encoding it, on all cores.

    python -m benchmarks.build [--data=FOLDER] [--turns=7] [--clips=64]

The peer decodes the same mp4 files to RGB with PyAV, encodes every frame with simplejpeg and discards the bytes, in one
running process per core. Ours is all of `tfds_musclemap.prepare`, including skeletons and writing; the cost of one more
clip is the difference between two sizes, because workers start only once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.build_work import our_clip, our_frames, peer_clip
from benchmarks.clips import write_raw_dataset
from benchmarks.timing import RESULTS, Run, alternate, medians, plot_bars, speedup, timed, write_results
from musclemap_jax.data.raw.raw_dataset import video_path
from musclemap_jax.runtime.worker_pool import WorkerCrash, WorkerPool
from tfds_musclemap.prepare import prepare

PACKAGES = ("av", "array_record", "numpy", "simplejpeg", "tensorflow-datasets")
OURS, PEER = "ours: one more clip to prepare", "peer: only decode and encode"
WHOLE = "ours: prepare, including the start"
FRAMES, CLIPS = "part: our decode and encode", "part: our clip reader"


def _work(pool: WorkerPool, function: Callable[..., int], items: Iterable[tuple]) -> None:
    for result in pool.map(function, items):
        if isinstance(result, WorkerCrash):
            raise result


def _prepare(root: Path, folder: Path, num_workers: int) -> None:
    """Prepares into a new folder and deletes it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        prepare("multimodal", folder, root, num_workers=num_workers)
    shutil.rmtree(folder)


def measure(folder: Path, turns: int, num_clips: int, results: Path) -> None:
    """Runs the benchmark and writes ``build.json`` and ``build.png``.

    Args:
      folder: Folder for the clips; existing ones are reused.
      turns: Number of alternating runs, without the warm-up.
      num_clips: Clips of the data set, a multiple of 8.
      results: Folder of the JSON file and the plot.
    """
    num_cores = os.cpu_count() or 1
    root, small = folder / "raw", folder / "raw_small"
    clip_ids = write_raw_dataset(root, num_clips)
    num_clips = len(clip_ids)
    num_small = len(write_raw_dataset(small, num_clips // 4))
    paths = [(str(video_path(root, clip_id)),) for clip_id in clip_ids]
    last: dict[str, float] = {}

    def prepare_whole() -> float:
        last[WHOLE] = timed(lambda: _prepare(root, folder / "prepared", num_cores))()
        return last[WHOLE] / num_clips

    def prepare_more() -> float:
        seconds = timed(lambda: _prepare(small, folder / "prepared", num_cores))()
        return (last[WHOLE] - seconds) / (num_clips - num_small)

    with WorkerPool(num_cores) as pool:

        def pooled(function: Callable[..., int], items: Iterable[tuple]) -> Run:
            return timed(lambda: _work(pool, function, items), per=num_clips)

        rivals = {
            PEER: pooled(peer_clip, paths),
            FRAMES: pooled(our_frames, paths),
            CLIPS: pooled(our_clip, [(str(root), clip_id) for clip_id in clip_ids]),
            WHOLE: prepare_whole,
            OURS: prepare_more,
        }
        times = alternate(rivals, turns)
    seconds = medians(times)
    metrics = {
        "fraction_of_peer_speed": {name: round(speedup(times, name, PEER), 2) for name in rivals if name != PEER},
        "clips_per_second": {name: round(1 / seconds[name], 1) for name in rivals},
    }
    settings = {"clips": num_clips, "turns": turns, "cores": num_cores}
    write_results(results / "build.json", settings, times, metrics, PACKAGES)
    plot_bars(results / "build.png", f"Preparation of {num_clips} clips of 120 frames", times, "seconds per clip")
    print(metrics)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder for the clips (default: a temporary one)")
    parser.add_argument("--turns", type=int, default=7, help="alternating runs (7)")
    parser.add_argument("--clips", type=int, default=64, help="clips of the data set, a multiple of 8 (64)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of build.json and build.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.data or Path(folder), arguments.turns, arguments.clips, arguments.results)


if __name__ == "__main__":
    main()
