"""A long run observed from outside: does its memory or its number of open files grow?

    python -m benchmarks.soak --steps=3000 --out=/tmp/soak

Runs the smoke variant with evaluations and checkpoints, and reads the resident memory and the open file descriptors of
its process from /proc (Linux). It compares the median over the last tenth of the run with that over the tenth after the
warm-up, because single samples vary with what is being saved.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tfds_musclemap.prepare import prepare

ROOT = Path(__file__).parent.parent
WARM_UP_STEPS = 300
LARGEST_GROWTH = 0.02
SAMPLE_EVERY_S = 0.25
KIBIBYTE = 1024
MEBIBYTE = 2**20


class Sample(NamedTuple):
    """State of the process at one time.

    Attributes:
      step: The last step logged.
      rss_bytes: Resident memory in bytes.
      num_files: Number of open file descriptors.
    """

    step: int
    rss_bytes: int
    num_files: int


def last_step(log: Path) -> int:
    """The step of the last complete line of a scalars.jsonl."""
    if not log.exists():
        return 0
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 8192, 0))
        lines = [line for line in file.read().splitlines() if line.startswith(b'{"step"') and line.endswith(b"}")]
    return json.loads(lines[-1])["step"] if lines else 0


def sample(pid: int, log: Path) -> Sample:
    """Samples a process.

    Raises:
      OSError: The process has ended.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    rss = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return Sample(last_step(log), int(rss.split()[1]) * KIBIBYTE, len(os.listdir(f"/proc/{pid}/fd")))


def growth(samples: list[Sample], num_steps: int) -> dict[str, float]:
    """Medians after the warm-up and at the end, and their relative difference."""
    tenth = num_steps // 10
    early = [row for row in samples if WARM_UP_STEPS <= row.step < WARM_UP_STEPS + tenth]
    late = [row for row in samples if row.step >= num_steps - tenth]
    memory = [median(row.rss_bytes for row in rows) for rows in (early, late)]
    files = [median(row.num_files for row in rows) for rows in (early, late)]
    return {
        "rss_mib_early": memory[0] / MEBIBYTE,
        "rss_mib_late": memory[1] / MEBIBYTE,
        "rss_growth": memory[1] / memory[0] - 1,
        "files_early": files[0],
        "files_late": files[1],
        "num_samples": len(samples),
    }


def main() -> int:
    """Runs and reports; the exit status is 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=3000, help="length of the run")
    parser.add_argument("--config", default="configs/transm3e.py:smoke", help="the experiment")
    parser.add_argument("--out", type=Path, required=True, help="folder for data, the run and soak.json")
    options = parser.parse_args()
    prepare("synthetic_smoke", options.out / "data")
    workdir = options.out / "run"
    command = [sys.executable, "-m", "musclemap_jax.main", f"--config={options.config}", "--mode=train"]
    command += [f"--workdir={workdir}", f"--config.data.data_dir={options.out / 'data'}"]
    command += [f"--config.train.num_steps={options.steps}", "--config.train.log_every=10"]
    command += ["--config.train.eval_every=200", "--config.train.checkpoint_every=100"]
    samples = []
    with (options.out / "output.log").open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        while process.poll() is None:
            try:
                samples.append(sample(process.pid, workdir / "scalars.jsonl"))
            except OSError:
                break
            time.sleep(SAMPLE_EVERY_S)
    if process.wait():
        print(f"the run exited with status {process.returncode}: see {options.out / 'output.log'}", file=sys.stderr)
        return 1
    metrics = growth(samples, options.steps)
    (options.out / "soak.json").write_text(json.dumps(metrics | {"samples": samples}) + "\n")
    grown = metrics["rss_growth"] >= LARGEST_GROWTH or metrics["files_late"] > metrics["files_early"]
    print(
        f"{options.steps} steps: resident memory {metrics['rss_mib_early']:.0f} -> {metrics['rss_mib_late']:.0f} MiB "
        f"({metrics['rss_growth']:+.2%}), open files {metrics['files_early']:g} -> {metrics['files_late']:g}: "
        f"{'GROWN' if grown else 'steady'}"
    )
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
