"""The main job: prepares the data if it is absent, trains, evaluates and writes the report.

    python -m musclemap_jax.main --config=configs/transm3e.py:synthetic --workdir=runs/demo

A workdir that holds a run is gone on with. Input at fault ends with one line on stderr and exit status 2.
"""

from __future__ import annotations

import logging as std_logging
import time
from collections.abc import Sequence

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from musclemap_jax.command_line import config_name, parse_flags
from musclemap_jax.config import resolve
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.eval.tables import headline_table

MODES = ("train_and_eval", "train", "eval")

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file, with a variant behind a colon.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, curves and report.")
_MODE = flags.DEFINE_enum("mode", "train_and_eval", MODES, "What to do.")


def _count_table(counts: dict[str, int]) -> str:
    rows = [*counts.items(), ("total", sum(counts.values()))]
    return "\n".join(f"  {name:<28}{count:>14,}" for name, count in rows)


def run(config: ml_collections.ConfigDict, workdir: str, mode: str, title: str) -> None:
    """Runs an experiment.

    Args:
      config: of `config.default_config`'s structure.
      workdir: folder of the run.
      mode: one of MODES.
      title: of the report.

    Raises:
      UserError: configuration or data at fault.
    """
    spec = resolve(config)
    # Everything below needs JAX's devices; the configuration is checked before they are touched.
    from musclemap_jax.compilation_cache import use_compilation_cache
    from musclemap_jax.experiment import Experiment, load_data
    from musclemap_jax.run_report import report_run

    started = time.perf_counter()
    times_s = {}

    def lap(name: str) -> None:
        nonlocal started
        times_s[name] = time.perf_counter() - started
        started = time.perf_counter()

    use_compilation_cache()
    data = load_data(spec.data)
    lap("data")
    experiment = Experiment(spec, workdir, data)
    print(f"parameters:\n{_count_table(experiment.parameter_counts())}", flush=True)
    lap("model")
    if mode != "eval":
        experiment.train()
        lap("training")
    if mode != "train":
        if mode == "eval" or spec.eval.checkpoint == "best":
            experiment.restore()
        metrics, predictions = experiment.evaluate(spec.eval.splits)
        lap("evaluation")
        path = report_run(experiment, metrics, predictions, times_s, title)
        print(f"{headline_table(metrics)}\n\nreport: {path}", flush=True)


def main(argv: Sequence[str]) -> int:
    """Body of the command; flags are parsed."""
    del argv
    # Orbax and TFDS tell every step of theirs, and Orbax warns of each checkpoint without an evaluation.
    logging.set_verbosity(logging.ERROR)
    std_logging.getLogger("musclemap_jax").setLevel(std_logging.INFO)

    def body() -> None:
        if _CONFIG.value is None or not _WORKDIR.value:
            raise UserError("flags --config and --workdir are needed: --config=configs/transm3e.py --workdir=runs/NAME")
        run(_CONFIG.value, _WORKDIR.value, _MODE.value, config_name())

    return exit_on_user_error(body)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
