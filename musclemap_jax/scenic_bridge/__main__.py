"""Trains our model, or a video model of Scenic's on our data, by Scenic's own `classification_trainer`.

    python -m musclemap_jax.scenic_bridge --config=configs/scenic/transm3e.py:smoke --workdir=runs/scenic

If the workdir already holds a Scenic run, it is resumed. At its end the workdir is a run of ours too, which
`python -m musclemap_jax.main --workdir=runs/scenic --mode=eval` evaluates. Needs Scenic (docs/scenic.md).
"""

from __future__ import annotations

import contextlib
import logging as std_logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import ml_collections
from absl import app, flags, logging

from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.experiment import command_line
from musclemap_jax.experiment.command_line import CONFIG, parse_flags
from musclemap_jax.scenic_bridge.config import MODEL

if TYPE_CHECKING:
    from musclemap_jax.experiment.prepared_data import PreparedData

flags.adopt_module_key_flags(command_line)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: Scenic's checkpoints and events, and our run.")


def train(config: ml_collections.ConfigDict, workdir: str) -> dict[str, float]:
    """Trains by Scenic's trainer, from the newest checkpoint in the workdir if it holds one.

    Args:
      config: A configuration for Scenic, such as that of `configs/scenic/transm3e.py`.
      workdir: The run's workdir.

    Returns:
      Scenic's last summaries of training and evaluation, {train_NAME or valid_NAME: mean}; {} if the run was complete.

    Raises:
      UserError: Invalid configuration or data, or Scenic is not installed.
    """
    import jax

    from musclemap_jax.experiment.prepared_data import load_data
    from musclemap_jax.scenic_bridge.config import experiment_spec
    from musclemap_jax.scenic_bridge.dataset import register
    from musclemap_jax.scenic_bridge.model import find_model_class
    from musclemap_jax.scenic_bridge.weights import make_run, newest_checkpoint, read_scenic, write_initial

    spec = experiment_spec(config)
    is_ours = config.model_name == MODEL
    model_cls = find_model_class(config.model_name)
    register()
    data = load_data(spec.data)
    newest = newest_checkpoint(workdir)
    if is_ours and newest is None and jax.process_index() == 0:
        write_initial(config, data, workdir)
    step = read_scenic(newest)[1] if newest else 0
    summaries = _run_trainer(config, workdir, model_cls, step, data) if step < config.num_training_steps else {}
    if is_ours and jax.process_count() == 1:
        make_run(config, data, workdir)
    return summaries


def _run_trainer(
    config: ml_collections.ConfigDict, workdir: str, model_cls: type, first_step: int, data: PreparedData
) -> dict[str, float]:
    """What `scenic.main` does once its flags are parsed; that module itself also imports other projects of Scenic's."""
    import jax

    from musclemap_jax.scenic_bridge.installed import scenic_checkpoints, scenic_module

    data_rng, rng = jax.random.split(jax.random.PRNGKey(config.rng_seed))
    get_dataset = scenic_module("scenic.train_lib.train_utils").get_dataset
    dataset = get_dataset(config, data_rng, data=data, first_step=first_step)
    trainer = scenic_module("scenic.train_lib.classification_trainer")
    writers = scenic_module("clu.metric_writers")
    writer = writers.create_default_writer(workdir, just_logging=jax.process_index() > 0)
    with scenic_checkpoints(), contextlib.closing(writer):
        _, trained, evaluated = trainer.train(
            rng=rng, config=config, model_cls=model_cls, dataset=dataset, workdir=workdir, writer=writer
        )
    parts = {"train": trained or {}, "valid": evaluated or {}}
    return {f"{part}_{name}": float(value) for part, names in parts.items() for name, value in sorted(names.items())}


def main(argv: Sequence[str]) -> int:
    """The command, once its flags are parsed."""
    del argv
    logging.set_verbosity(logging.ERROR)
    std_logging.getLogger("musclemap_jax").setLevel(std_logging.INFO)

    def body() -> None:
        if CONFIG.value is None or not _WORKDIR.value:
            raise UserError(
                "flags --config and --workdir are needed: --config=configs/scenic/transm3e.py:smoke --workdir=runs/NAME"
            )
        for name, value in train(CONFIG.value, _WORKDIR.value).items():
            print(f"  {name:<28}{value:>12.6f}")
        if CONFIG.value.model_name == MODEL:
            print(f"a run of ours: python -m musclemap_jax.main --workdir={_WORKDIR.value} --mode=eval")

    return exit_on_user_error(body)


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)), flags_parser=parse_flags)
