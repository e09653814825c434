"""The models, compared with their peers in alternation, and with the machine's matmul speed.

    python -m benchmarks.model --arch=mvitv2_s --mode=train --peer_python=PYTHON [--batch=1] [--turns=7]
    python -m benchmarks.model --arch=slowfast --mode=train --peer_python=PYTHON --published=CHECKOUTS

The peers are torchvision's networks or the published code, run by PYTHON, the interpreter of an environment of their
own; what it holds and where the published code comes from is in benchmarks/README.md. TransM3E is compared with its
video branch alone. Every rival is a process of its own and waits while another runs. `--mode=step` is the main job's
training step, including its initialisation.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

from benchmarks.our_model import ARCHITECTURES, MODES
from benchmarks.timing import RESULTS, alternate, medians, plot_bars, speedup, write_results
from benchmarks.worker import Worker

OURS, PEER, VIDEO_ALONE, PRODUCT = "musclemap_jax", "PyTorch", "MViTv2-S alone", "2048^3 product"

PACKAGES = ("jax", "jaxlib", "flax", "numpy")


def rivals(arch: str, mode: str, batch: int, peer_python: str | None, published: Path | None) -> dict[str, Worker]:
    """Starts the processes; raises ValueError if the peer has another number of parameters than our model."""
    arguments = [f"--batch={batch}", f"--mode={mode}"]
    workers = {PRODUCT: Worker("benchmarks.our_model", ["--arch=product"])}
    workers[OURS] = Worker("benchmarks.our_model", [f"--arch={arch}", *arguments])
    if arch == "transm3e":
        workers[VIDEO_ALONE] = Worker("benchmarks.our_model", ["--arch=mvitv2_s", *arguments])
    elif peer_python:
        peer_mode = "forward" if mode == "forward" else "train"
        frames = ARCHITECTURES[arch][1].num_frames
        arguments = [f"--arch={arch}", f"--batch={batch}", f"--mode={peer_mode}", f"--frames={frames}"]
        arguments += [f"--threads={os.cpu_count()}", *([f"--published={published}"] if published else [])]
        workers[PEER] = Worker("benchmarks.peers", arguments, peer_python)
        counts = {name: workers[name].facts["parameters"] for name in (OURS, PEER)}
        if len(set(counts.values())) > 1:
            raise ValueError(f"the models of --arch={arch} differ: numbers of parameters {counts}")
    return workers


def measure(
    arch: str, mode: str, batch: int, turns: int, peer_python: str | None, published: Path | None, results: Path
) -> None:
    """Runs the benchmark and writes ``model_{arch}_{mode}.json`` and ``.png``.

    Args:
      arch: A key of `our_model.ARCHITECTURES`.
      mode: forward, train (gradient) or step.
      batch: Number of clips.
      turns: Number of alternating runs, without the warm-up.
      peer_python: Interpreter with the peers' packages, or None.
      published: Folder with the checkouts of the published code, or None.
      results: Folder of the JSON file and the plot.
    """
    workers = rivals(arch, mode, batch, peer_python, published)
    times = alternate({name: worker.run for name, worker in workers.items()}, turns)
    facts = {name: worker.facts for name, worker in workers.items()}
    multiply_adds = facts[OURS]["multiply_adds"]
    at_matmul_speed = [seconds * multiply_adds / facts[PRODUCT]["multiply_adds"] for seconds in times[PRODUCT]]
    metrics = {
        "fraction_of_matmul_speed": round(
            statistics.median(best / seconds for best, seconds in zip(at_matmul_speed, times[OURS], strict=True)), 2
        ),
        "cpu_seconds": {name: round(statistics.median(worker.cpu_seconds), 3) for name, worker in workers.items()},
        "peak_gib": {name: worker.close() for name, worker in workers.items()},
        "facts": facts,
    }
    if PEER in workers:
        metrics["times_as_fast_as_peer"] = round(speedup(times, OURS, PEER), 2)
    if VIDEO_ALONE in workers:
        metrics["times_the_cost_of_the_video_branch"] = round(1 / speedup(times, OURS, VIDEO_ALONE), 2)
    settings = {
        "arch": arch,
        "mode": mode,
        "batch": batch,
        "turns": turns,
        "cores": os.cpu_count(),
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", ""),
    }
    stem = results / f"model_{arch}_{mode}"
    write_results(stem.with_suffix(".json"), settings, times, metrics, PACKAGES)
    plot_bars(stem.with_suffix(".png"), f"{arch}, {mode}, batch {batch}, float32", times)
    print(medians(times))
    print(metrics)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=tuple(ARCHITECTURES), default="mvitv2_s", help="the model (mvitv2_s)")
    parser.add_argument("--batch", type=int, default=1, help="clips (1)")
    parser.add_argument("--mode", choices=MODES, default="forward", help="what to run (forward)")
    parser.add_argument("--turns", type=int, default=7, help="alternating runs (7)")
    parser.add_argument("--peer_python", help="interpreter with the peers' packages")
    parser.add_argument("--published", type=Path, help="folder with the checkouts of the published code")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file and the plot")
    arguments = parser.parse_args()
    measure(
        arguments.arch,
        arguments.mode,
        arguments.batch,
        arguments.turns,
        arguments.peer_python,
        arguments.published,
        arguments.results,
    )


if __name__ == "__main__":
    main()
