"""Script of a process: twenty steps by Scenic's trainer and by ours, from equal parameters on equal batches.

Arguments: the data folder, the workdirs' folder, names of configurations. The last line of its output is JSON: for
each, the losses of both, whether the weights came through unchanged, and the scores of Scenic's model by our evaluator.
"""

import contextlib
import functools
import json
import sys
from pathlib import Path

import jax
import numpy as np

from musclemap_jax.checkpoints.trained import load_trained
from musclemap_jax.experiment.experiment import Experiment
from musclemap_jax.experiment.prepared_data import load_data
from musclemap_jax.experiment.setup import set_up
from musclemap_jax.models.fusion import FUSIONS, MCTF
from musclemap_jax.scenic_bridge.__main__ import train
from musclemap_jax.scenic_bridge.config import experiment_spec, scenic_config
from musclemap_jax.scenic_bridge.installed import scenic_module
from musclemap_jax.scenic_bridge.weights import newest_checkpoint, read_scenic
from musclemap_jax.sharding.mesh import put_batch

NUM_STEPS = 20


def losses_of_scenic(config, workdir):
    """The loss of each step of Scenic's own trainer, from what it logs."""
    train_utils = scenic_module("scenic.train_lib.train_utils")
    losses, log = [], train_utils.log_train_summary

    def record(*, train_metrics, **rest):
        losses.extend(float(step["loss"][0] / step["loss"][1]) for step in train_metrics)
        return log(train_metrics=train_metrics, **rest)

    train_utils.log_train_summary = record
    try:
        train(config, workdir)
    finally:
        train_utils.log_train_summary = log
    return losses


def losses_of_ours(spec, data):
    """The loss of each step of our own training step; also the parameters before the first one."""
    setup, state = set_up(spec, data)
    first, losses = jax.device_get(state.params), []
    step = setup.step_function()
    with contextlib.closing(setup.train_batches()) as batches:
        for _ in range(NUM_STEPS):
            state, metrics = step(state, put_batch(next(batches), setup.mesh))
            losses.append(float(metrics["loss"]))
    return first, losses


def compare(name, data_dir, folder):
    config = scenic_config(f"{name}:smoke", NUM_STEPS)
    config.dataset_configs.experiment.data.data_dir = data_dir
    config.lr_configs.base_learning_rate = 1e-3
    config.checkpoint_steps, config.max_checkpoint_keep = NUM_STEPS, 9
    spec, workdir = experiment_spec(config), folder / name
    data = load_data(spec.data)
    scenics = losses_of_scenic(config, str(workdir))
    first, ours = losses_of_ours(spec, data)
    start, end = read_scenic(workdir / "checkpoint_0"), read_scenic(newest_checkpoint(workdir))
    experiment = Experiment(spec, workdir, data)
    experiment.restore()
    scores = experiment.metrics({split: experiment.predict(split) for split in ("val_known", "test_new")})
    return {
        "scenic": scenics,
        "ours": ours,
        "start": _equal(start[0]["params"], first),
        "end": _equal(end[0]["params"], load_trained(workdir)["params"]),
        "moved": not _equal(start[0]["params"], end[0]["params"]),
        "steps": [start[1], end[1]],
        "scores": scores.scalars(),
    }


def _equal(tree, other):
    return jax.tree.all(jax.tree.map(lambda one, two: bool(np.array_equal(one, two)), dict(tree), dict(other)))


if __name__ == "__main__":
    # Whose random numbers differ; a configuration has no key for it.
    FUSIONS["mctf"] = functools.partial(MCTF, drop_path_rate=0.0)
    results = {name: compare(name, sys.argv[1], Path(sys.argv[2])) for name in sys.argv[3:]}
    print(json.dumps(results))
