"""Training input, compared with the released code's, on one core; where the time goes; memory with worker processes.

    python -m benchmarks.input [--data=FOLDER] [--turns=7]

Both sides make the same clips: 16 frames of 224 x 224 with a stride of 4, from 120 frames of 340 x 256, with random
crop and flip but without colour changes. Ours are uint8 from prepared data, the peer's float32 from mp4 files. Times
are core seconds over all threads.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clips import prepared_source, write_raw_dataset
from benchmarks.memory import tree_bytes
from benchmarks.released_input import released_clip
from benchmarks.timing import RESULTS, Run, alternate, medians, plot_bars, speedup, timed, write_results
from musclemap_jax.data.augmentation import AugmentationSpec, random_crop
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.frames import decode_frames
from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.data.pipeline import train_iterator
from musclemap_jax.data.raw.raw_dataset import video_path
from musclemap_jax.data.sampling import train_indices
from tfds_musclemap.source import ClipSource

NUM_CLIPS = 16
BATCH_SIZE = 8
PACKAGES = ("av", "grain", "array_record", "numpy", "opencv-python-headless", "simplejpeg")
OURS, PEER = "ours: video from ArrayRecord", "peer: PyAV from mp4"
WHOLE = "ours: video and skeletons, all augmentations"
READ, DECODE, RESIZE = "part: record read", "part: JPEG decode alone", "part: decode, crop, resize"

PLAIN = AugmentationSpec(colour_probability=0.0, erase_probability=0.0)
VIDEO = InputSpec(modalities=("video",), augmentation=PLAIN)


_timed = functools.partial(timed, clock=time.process_time)


def _peer(root: Path, clip_ids: Sequence[str]) -> Run:
    rng = np.random.default_rng(0)
    stride = int(VIDEO.frame_stride)

    def clips() -> None:
        for clip_id in clip_ids:
            released_clip(video_path(root, clip_id), VIDEO.num_frames, stride, VIDEO.crop_size, PLAIN, rng)

    return _timed(clips, per=len(clip_ids))


def _ours(source: ClipSource, spec: InputSpec) -> Run:
    """The training stream, made by the calling thread."""
    batches = train_iterator(source, spec, BATCH_SIZE, seed=0, num_threads=0)
    num_batches = len(source) // BATCH_SIZE
    return _timed(lambda: [next(batches) for _ in range(num_batches)], per=num_batches * BATCH_SIZE)


def _parts(source: ClipSource) -> dict[str, Run]:
    """Where our time goes: reading records, decoding frames, and decoding with crop and resize."""
    rng = np.random.default_rng(0)
    records = [source[index] for index in range(len(source))]
    indices = [train_indices(len(record["frames"]), VIDEO.num_frames, VIDEO.frame_stride, rng) for record in records]
    picked = [[record["frames"][index] for index in rows] for record, rows in zip(records, indices, strict=True)]
    size = decode_jpeg(picked[0][0]).shape
    boxes = [random_crop(*size[:2], PLAIN, rng) for _ in records]
    scratch = np.empty(size, np.uint8)
    video = np.empty((VIDEO.num_frames, VIDEO.crop_size, VIDEO.crop_size, 3), np.uint8)

    def resize() -> None:
        for jpegs, box in zip(picked, boxes, strict=True):
            decode_frames(jpegs, np.arange(VIDEO.num_frames), (box,), video)

    per = len(source)

    def read() -> None:
        for index in range(per):
            source[index]

    return {
        READ: _timed(read, per),
        DECODE: _timed(lambda: [decode_jpeg(jpeg, out=scratch) for jpegs in picked for jpeg in jpegs], per),
        RESIZE: _timed(resize, per),
    }


_TAKEN = 24
"""Batches during which memory is measured."""


def _memory(folder: Path, num_workers: int) -> int:
    """Peak memory in bytes of a process that only takes batches, including its workers."""
    command = [sys.executable, "-m", "benchmarks.input", f"--data={folder}", f"--take={num_workers}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak = max(tree_bytes(process.pid) for _ in process.stdout)
    if process.returncode:
        raise RuntimeError(f"{command} exited with status {process.returncode}")
    return peak


def _take(source: ClipSource, num_workers: int) -> None:
    """Prints a line per batch, so that the caller can measure memory in between."""
    batches = train_iterator(source, VIDEO, BATCH_SIZE, seed=0, num_workers=num_workers)
    for number, _ in enumerate(itertools.islice(batches, _TAKEN)):
        print(number, flush=True)
    batches.close()


def measure(folder: Path, turns: int, results: Path) -> None:
    """Runs the benchmark and writes ``input.json`` and ``input.png``.

    Args:
      folder: Folder for the clips; existing ones are reused.
      turns: Number of alternating runs, without the warm-up.
      results: Folder of the JSON file and the plot.
    """
    root = folder / "raw"
    clip_ids = write_raw_dataset(root, NUM_CLIPS)
    source = prepared_source(folder / "prepared", root)
    memory = {f"memory_mib_{workers}_workers": _memory(folder, workers) / 2**20 for workers in (0, 2)}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(0)
    everything = dataclasses.replace(InputSpec(), augmentation=AugmentationSpec())
    rivals = {PEER: _peer(root, clip_ids), OURS: _ours(source, VIDEO), WHOLE: _ours(source, everything)}
    times = alternate(rivals | _parts(source), turns)
    seconds = medians(times)
    metrics = {
        "times_as_fast_as_peer": round(speedup(times, OURS, PEER), 2),
        "clips_per_second_per_core": {name: round(1 / seconds[name], 1) for name in rivals},
        "fraction_of_time_in_jpeg_decode": round(speedup(times, OURS, DECODE), 2),
    } | {name: round(value) for name, value in memory.items()}
    settings = {"clips": NUM_CLIPS, "batch_size": BATCH_SIZE, "turns": turns, "cores": 1}
    write_results(results / "input.json", settings, times, metrics, PACKAGES)
    plot_bars(results / "input.png", "Training input, 16 x 224 x 224, one core", times, "core seconds per clip")
    print(metrics)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder for the clips (default: a temporary one)")
    parser.add_argument("--turns", type=int, default=7, help="alternating runs (7)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of input.json and input.png")
    parser.add_argument("--take", type=int, help="only take batches, with this many workers (used to measure memory)")
    arguments = parser.parse_args()
    if arguments.take is not None:
        _take(prepared_source(arguments.data / "prepared", arguments.data / "raw"), arguments.take)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.data or Path(folder), arguments.turns, arguments.results)


if __name__ == "__main__":
    main()
