"""The preparation of a data set against decoding and JPEG-encoding alone, on all cores; what the rest is spent on.

    python -m benchmarks.build [--data=FOLDER] [--turns=7] [--clips=64]

The peer decodes the same mp4 files by PyAV to RGB and encodes every frame by simplejpeg, one process a core, all
started before, and throws the bytes away. Ours is the whole of `tfds_musclemap.prepare`, with the start of its
workers, the skeletons and the writing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.build_work import our_clip, our_frames, peer_clip
from benchmarks.clips import write_distribution
from benchmarks.timing import RESULTS, alternate, medians, plot_bars, speedup, timed, write_results
from musclemap_jax.data.distribution import video_path
from tfds_musclemap.prepare import prepare
from tfds_musclemap.worker_pool import WorkerCrash, WorkerPool

PACKAGES = ("av", "array_record", "numpy", "simplejpeg", "tensorflow-datasets")
OURS, PEER = "ours: prepare", "peer: decode and encode alone"
FRAMES, CLIPS = "part: our decode and encode", "part: our clip reader"


def _work(pool: WorkerPool, function: Callable[..., int], items: Iterable[tuple]) -> None:
    for result in pool.map(function, items):
        if isinstance(result, WorkerCrash):
            raise result


def _prepare(root: Path, folder: Path, num_workers: int) -> None:
    """Prepares into a fresh folder, which is removed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        prepare("multimodal", folder, root, num_workers=num_workers)
    shutil.rmtree(folder)


def measure(folder: Path, turns: int, num_clips: int, results: Path) -> None:
    """Runs the benchmark and writes ``build.json`` and ``build.png``.

    Args:
      folder: takes the clips; those that are there already are used.
      turns: alternating runs that count.
      num_clips: of the data set.
      results: folder of the files.
    """
    root, num_cores = folder / "raw", os.cpu_count() or 1
    clip_ids = write_distribution(root, num_clips)
    paths = [(str(video_path(root, clip_id)),) for clip_id in clip_ids]
    numbers = itertools.count()
    with WorkerPool(num_cores) as pool:

        def pooled(function, items):
            return timed(lambda: _work(pool, function, items), per=len(clip_ids))

        rivals = {
            PEER: pooled(peer_clip, paths),
            FRAMES: pooled(our_frames, paths),
            CLIPS: pooled(our_clip, [(str(root), clip_id) for clip_id in clip_ids]),
            OURS: timed(lambda: _prepare(root, folder / f"prepared{next(numbers)}", num_cores), per=len(clip_ids)),
        }
        times = alternate(rivals, turns)
    seconds = medians(times)
    figures = {
        "share_of_peer_speed": {name: round(speedup(times, name, PEER), 2) for name in rivals if name != PEER},
        "clips_per_second": {name: round(1 / seconds[name], 1) for name in rivals},
    }
    settings = {"clips": len(clip_ids), "turns": turns, "cores": num_cores}
    write_results(results / "build.json", settings, times, figures, PACKAGES)
    plot_bars(results / "build.png", f"Preparation of {len(clip_ids)} clips of 120 frames", times, "seconds a clip")
    print(figures)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the clips (default: made anew and removed)")
    parser.add_argument("--turns", type=int, default=7, help="alternating runs that count (7)")
    parser.add_argument("--clips", type=int, default=64, help="clips of the data set, even (64)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of build.json and build.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.data or Path(folder), arguments.turns, arguments.clips, arguments.results)


if __name__ == "__main__":
    main()
