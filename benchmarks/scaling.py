"""Cost against frames, crop, batch size and number of clips, and how close it is to a straight line.

    python -m benchmarks.scaling --quantity=frames [--peer_python=PYTHON] [--turns=5]

For frames, crop (in pixels) and batch, the cost is MViTv2-S's forward pass, in alternation with torchvision's if
PYTHON is given. Attention grows faster than the number of frames and pixels, so the cost is also fitted to the
multiply-adds. For clips, the costs are preparing the data set and evaluating it with a small, already compiled
TransM3E.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.clips import write_raw_dataset
from benchmarks.model import OURS, PEER
from benchmarks.our_model import random_variables
from benchmarks.timing import RESULTS, Times, alternate, medians, plot_lines, timed, write_results
from benchmarks.worker import Worker
from musclemap_jax.data import pipeline
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.eval.evaluator import EvalSplit, Evaluator
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.sharding.mesh import make_mesh, replicated
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tfds_musclemap.prepare import load_source, prepare

SIZES = {"frames": (4, 8, 16, 32), "crop": (96, 128, 160, 192, 224), "batch": (1, 2, 3, 4), "clips": (8, 16, 24, 32)}
LABELS = {"frames": "frames", "crop": "pixels of a frame", "batch": "clips in a batch", "clips": "clips"}
BUILD, EVALUATION = "preparation", "evaluation"
PACKAGES = ("jax", "jaxlib", "flax", "numpy")

SMALL_INPUT = InputSpec(num_frames=8, crop_size=64, num_poses=32, num_persons=1)
SMALL_MODEL = ModelSpec(
    backbones={
        "mvit": MViTSpec(depth=4, embed_dim=32, stages=(1, 2, 3), input_size=(8, 64, 64)),
        "hdgcn": HDGCNSpec(widths=(16, 16, 16, 32, 32, 64)),
    },
)
EVALUATION_BATCH = 8

Points = list[tuple[float, float]]


def straight_line(points: Points) -> dict[str, float]:
    """Least squares fit of cost = slope * quantity + offset, with R²."""
    quantity, cost = np.asarray(points).T
    slope, offset = np.polyfit(quantity, cost, 1)
    unexplained = np.sum((cost - slope * quantity - offset) ** 2) / np.sum((cost - cost.mean()) ** 2)
    return {"slope": float(slope), "offset_s": round(float(offset), 3), "r2": round(float(1 - unexplained), 4)}


def model_costs(quantity: str, turns: int, peer_python: str | None) -> tuple[dict[str, Points], Times, Points]:
    """Cost against the quantity, all times, and our cost against multiply-adds in units of 1e9."""
    lines: dict[str, Points] = {OURS: []} | ({PEER: []} if peer_python else {})
    times: Times = {}
    by_work: Points = []
    for size in SIZES[quantity]:
        flag = [f"--{quantity}={size}"]
        workers = {OURS: Worker("benchmarks.our_model", ["--arch=mvitv2_s", *flag])}
        if peer_python:
            threads = f"--threads={os.cpu_count()}"
            workers[PEER] = Worker("benchmarks.peers", [threads, *flag], peer_python)
        measured = alternate({name: worker.run for name, worker in workers.items()}, turns)
        for name, seconds in measured.items():
            times[f"{name}, {size} {quantity}"] = seconds
            lines[name].append((size**2 if quantity == "crop" else size, statistics.median(seconds)))
        by_work.append((workers[OURS].facts["multiply_adds"] / 1e9, medians(measured)[OURS]))
        for worker in workers.values():
            worker.close()
    return lines, times, by_work


def _evaluation(data_dir: Path) -> Callable[[], object]:
    """An evaluation of the prepared clips, already compiled."""
    source = load_source(data_dir, "train")
    model, mesh = TransM3E(SMALL_MODEL), make_mesh({"data": 1, "fsdp": 1, "tensor": 1})

    def batches() -> Any:
        return pipeline.eval_batches(source, SMALL_INPUT, EVALUATION_BATCH)

    variables = random_variables(model, next(batches()))
    names = [f"clip{index}" for index in range(len(source))]
    shardings = jax.tree.map(lambda _: replicated(mesh), variables)
    evaluator = Evaluator(model, mesh, shardings, {"train": EvalSplit(batches, names, names)}, MUSCLE_REGIONS)
    evaluator.predict(variables, "train")
    return lambda: evaluator.predict(variables, "train")


def clip_costs(turns: int) -> tuple[dict[str, Points], Times]:
    """Cost against the number of clips, and all times, of preparation and evaluation."""
    lines: dict[str, Points] = {BUILD: [], EVALUATION: []}
    times: Times = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES["clips"]:
            root = Path(folder) / f"raw{size}"
            write_raw_dataset(root, size)
            prepared: list[Path] = []

            def build(root: Path = root, prepared: list[Path] = prepared) -> None:
                prepared.append(root.with_name(f"{root.name}_prepared{len(prepared)}"))
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    builder = prepare("multimodal", prepared[-1], root)
                prepared[-1] = Path(builder.data_path)

            build()
            rivals = {BUILD: timed(build), EVALUATION: timed(_evaluation(prepared[0]))}
            for name, seconds in alternate(rivals, turns).items():
                times[f"{name}, {size} clips"] = seconds
                lines[name].append((size, statistics.median(seconds)))
    return lines, times


def measure(quantity: str, turns: int, peer_python: str | None, results: Path) -> None:
    """Runs the benchmark and writes ``scaling_{quantity}.json`` and ``.png``.

    Args:
      quantity: A key of SIZES.
      turns: Number of alternating runs at every size, without the warm-up.
      peer_python: Interpreter with torch and torchvision, or None.
      results: Folder of the JSON file and the plot.
    """
    metrics: dict[str, Any] = {}
    if quantity == "clips":
        lines, times = clip_costs(turns)
    else:
        lines, times, by_work = model_costs(quantity, turns, peer_python)
        metrics["line_by_multiply_adds"] = straight_line(by_work)
    metrics["line"] = {name: straight_line(points) for name, points in lines.items()}
    settings = {"quantity": quantity, "sizes": SIZES[quantity], "turns": turns, "cores": os.cpu_count()}
    stem = results / f"scaling_{quantity}"
    write_results(stem.with_suffix(".json"), settings, times, metrics, PACKAGES)
    plot_lines(stem.with_suffix(".png"), f"Cost against {LABELS[quantity]}", lines, LABELS[quantity])
    print(metrics)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--quantity", choices=tuple(SIZES), default="batch", help="what is varied (batch)")
    parser.add_argument("--turns", type=int, default=5, help="alternating runs at every size (5)")
    parser.add_argument("--peer_python", help="interpreter with torch and torchvision")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file and the plot")
    arguments = parser.parse_args()
    measure(arguments.quantity, arguments.turns, arguments.peer_python, arguments.results)


if __name__ == "__main__":
    main()
