"""Kills training runs at random moments, resumes them, and compares their final states, bit for bit.

    python -m tools.fault_test --runs=25 --out=/tmp/fault_test

Each run is killed (SIGKILL) one to three times: at a random moment of its start or training, or while a checkpoint is
being written; then it is left to finish. The test suite does the same with fewer runs. With
`--workdirs=gs://BUCKET/RUNS` the workdirs are on cloud storage, or on a server that emulates it (docs/tpu.md).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from musclemap_jax.storage.files import disable_listings_cache
from tfds_musclemap.prepare import prepare

ROOT = Path(__file__).parent.parent
MOMENTS = ("any", "step", "save")
MAX_KILLS = 3
TIME_LIMIT_S = 1800
_COMMITTED = "commit_success.txt"
"""Orbax's last file of a checkpoint on cloud storage."""

Start = Callable[..., subprocess.Popen]


def wait_for(moment: str, workdir: epath.Path, process: subprocess.Popen, rng: random.Random, typical_s: float) -> None:
    """Returns at the moment to kill, or when the process has ended.

    Args:
      moment: ``any``: after a random time; ``step``: a random time after a new line of the log; ``save``: a random time
        after a checkpoint has begun to be written.
      workdir: The run's workdir.
      process: The run.
      rng: Draws the times.
      typical_s: Typical duration of a whole run.
    """
    log, checkpoints = workdir / "scalars.jsonl", workdir / "checkpoints"
    deadline = time.monotonic() + (rng.uniform(0, typical_s) if moment == "any" else TIME_LIMIT_S)
    skipped = rng.randrange(4)  # which of the new lines, or of the saves, it is
    size, saves = _size(log), set[str]()
    pause_s = rng.choice([0.0, 0.002, 0.02, 0.2])
    while process.poll() is None and time.monotonic() < deadline:
        if moment == "step":
            now = _size(log)
            new, size = now > size, now
        else:
            begun = _unfinished(checkpoints) if moment == "save" else set()
            new, saves = bool(begun - saves), begun
        if new:
            skipped -= 1
            if skipped < 0:
                time.sleep(pause_s)
                return
        time.sleep(0.001)


def _size(path: epath.Path) -> int:
    return path.stat().length if path.exists() else 0


def _unfinished(checkpoints: epath.Path) -> set[str]:
    """Names of checkpoints that are being written: those to be renamed, or on cloud storage those not yet committed."""
    if "://" not in str(checkpoints):
        return {path.name for path in checkpoints.glob("*tmp*")}
    folders = checkpoints.iterdir() if checkpoints.exists() else ()
    return {path.name for path in folders if not (path / _COMMITTED).exists()}


def run_with_kills(
    start: Start, workdir: epath.PathLike, moments: Sequence[str], rng: random.Random, typical_s: float = 0.0
) -> list[str]:
    """Kills and resumes a run, and lets it finish.

    Args:
      start: Starts the command with the given arguments.
      workdir: The run's workdir.
      moments: One of MOMENTS for each kill.
      rng: Draws the times.
      typical_s: Typical duration of a whole run.

    Returns:
      The moments at which it was killed.

    Raises:
      RuntimeError: A start ended with an error.
    """
    killed, workdir = [], epath.Path(workdir)
    for moment in [*moments, None]:
        process = start(f"--workdir={workdir}", stdout=subprocess.DEVNULL)
        if moment is not None:
            wait_for(moment, workdir, process, rng, typical_s)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed.append(moment)
        _, errors = process.communicate(timeout=TIME_LIMIT_S)
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{workdir}: ended with status {process.returncode} after kills {killed}: {errors}")
    return killed


def final_state(workdir: epath.PathLike) -> dict[str, Any]:
    """Everything in the newest checkpoint: {path: array}, and the data iterator's state."""
    checkpoints = epath.Path(workdir) / "checkpoints"
    step = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdigit())
    folder = checkpoints / str(step)
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(folder / "state").item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        state = reader.restore(folder / "state", args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    return arrays | {"data": json.loads((folder / "data" / "metadata").read_text())}


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Names of what is not bit-identical in two states."""
    names = sorted(found.keys() | expected.keys())
    return [
        name for name in names if name not in found or name not in expected or not same(found[name], expected[name])
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two arrays have the same bits, or two other values are equal."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return one == other


def main() -> int:
    """Runs the test; the exit status says whether all runs ended the same."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=25, help="number of runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the kills")
    parser.add_argument("--steps", type=int, default=12, help="steps per run")
    parser.add_argument("--config", default="configs/transm3e.py:smoke", help="the experiment")
    parser.add_argument("--out", type=Path, required=True, help="folder for data, compiled programs and runs")
    parser.add_argument("--workdirs", help="folder of the workdirs, if not OUT")
    options = parser.parse_args()
    disable_listings_cache()
    workdirs = epath.Path(options.workdirs or options.out)
    data_dir = options.out / "data"
    prepare("synthetic_smoke", data_dir)
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(options.out / "xla")}
    command = [sys.executable, "-m", "musclemap_jax.main", f"--config={options.config}", "--mode=train"]
    command += [f"--config.data.data_dir={data_dir}", f"--config.train.num_steps={options.steps}"]
    command += ["--config.train.checkpoint_every=2", "--config.train.eval_every=5"]

    def start(*arguments: str, **streams: Any) -> subprocess.Popen:
        return subprocess.Popen(
            [*command, *arguments], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, **streams
        )

    typical_s = 0.0
    for name in ("compiling", "whole"):  # the second has its programs compiled, as the killed ones have
        started = time.monotonic()
        run_whole(start, workdirs / name)
        typical_s = time.monotonic() - started
    expected = final_state(workdirs / "whole")
    failures = 0
    for number in range(options.runs):
        workdir = workdirs / f"run{number:02d}"
        rng = random.Random(f"{options.seed}/{number}")
        moments = [rng.choice(MOMENTS) for _ in range(rng.randint(1, MAX_KILLS))]
        killed = run_with_kills(start, workdir, moments, rng, typical_s)
        different = differences(final_state(workdir), expected)
        damaged = sorted(path.name for path in workdir.glob("damaged_checkpoints/*"))
        failures += bool(different or damaged)
        verdict = f"DIFFERENT: {different[:3]}, damaged {damaged}" if different or damaged else "identical"
        print(
            f"run {number}: killed {len(killed)} times ({', '.join(killed) or 'it was faster'}): {verdict}", flush=True
        )
    print(f"{options.runs - failures} of {options.runs} runs ended with the state of the run that nothing interrupted")
    return bool(failures)


def run_whole(start: Start, workdir: epath.Path) -> None:
    """Runs without an interruption."""
    process = start(f"--workdir={workdir}", stdout=subprocess.DEVNULL)
    _, errors = process.communicate(timeout=TIME_LIMIT_S)
    if process.returncode:
        raise RuntimeError(f"{workdir}: ended with status {process.returncode}: {errors}")


if __name__ == "__main__":
    sys.exit(main())
