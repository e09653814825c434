"""Weights between our runs and Scenic's: the training state that Scenic starts from, and a run of ours made of one.

Our parameters have the same names in both, so nothing is renamed. Scenic's checkpoints are msgpack files of Flax,
`checkpoint_<step>`, which are read without Scenic.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from etils import epath
from flax import serialization

from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.errors import UserError
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.experiment.setup import Setup, check_teacher, load_initial_weights, set_up
from musclemap_jax.experiment.workdir import claim_workdir
from musclemap_jax.scenic_bridge.config import experiment_spec
from musclemap_jax.scenic_bridge.installed import scenic_checkpoints, scenic_module

Variables = dict[str, Any]


def newest_checkpoint(workdir: epath.PathLike) -> epath.Path | None:
    """Scenic's newest checkpoint in a workdir; None if there is none."""
    found = {}
    for path in epath.Path(workdir).glob("checkpoint_*"):
        if match := re.fullmatch(r"checkpoint_(\d+)", path.name):
            found[int(match[1])] = path
    return found[max(found)] if found else None


def read_scenic(path: epath.PathLike) -> tuple[Variables, int]:
    """Reads a checkpoint of Scenic, of which nothing is executed.

    Returns:
      {"params": ..., "batch_stats": ...} of numpy arrays, and the step.

    Raises:
      UserError: The file is absent, damaged, or none of Scenic's.
    """
    try:
        tree = serialization.msgpack_restore(epath.Path(path).read_bytes())
        state = tree.get("model_state") or {}
        return {"params": tree["params"], "batch_stats": state.get("batch_stats", {})}, int(tree["global_step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a checkpoint of Scenic: {error}: give a file checkpoint_<step> of its workdir"
        ) from error


def write_initial(config: ml_collections.ConfigDict, data: PreparedData, workdir: epath.PathLike) -> None:
    """Writes Scenic's training state at step 0, with the parameters that our own trainer would start from.

    These follow from the seed, and from `init_from`, such as a run of ours or an import.

    Args:
      config: The result of `config.scenic_config`.
      data: The prepared data.
      workdir: Scenic's workdir; the state becomes its `checkpoint_0`, which Scenic's trainers resume from.

    Raises:
      UserError: The configuration contradicts itself, or the weights do not fit the model.
    """
    spec = experiment_spec(config)
    check_teacher(spec)
    state = load_initial_weights(*set_up(spec, data))
    params, batch_stats = jax.device_get((state.params, state.batch_stats))
    train_utils, optimizers, lr_schedules = (
        scenic_module(f"scenic.train_lib.{name}") for name in ("train_utils", "optimizers", "lr_schedules")
    )
    optimizer = optimizers.get_optimizer(
        optimizers.get_optax_optimizer_config(config), lr_schedules.get_learning_rate_fn(config), params=params
    )
    first = train_utils.TrainState(
        global_step=0,
        tx=optimizer,
        opt_state=optimizer.init(params),
        params=params,
        model_state={"batch_stats": batch_stats} if batch_stats else {},
        rng=jax.random.PRNGKey(spec.seed),
        metadata={"chrono": train_utils.Chrono().save()},
    )
    epath.Path(workdir).mkdir(parents=True, exist_ok=True)
    with scenic_checkpoints():
        train_utils.save_checkpoint(str(workdir), first)


class _Position:
    """The place in the training stream after a number of batches."""

    def __init__(self, state: Mapping[str, int]) -> None:
        self._state = dict(state)

    def get_state(self) -> dict[str, int]:
        return self._state

    def set_state(self, state: Mapping[str, int]) -> None:
        self._state = dict(state)


def make_run(config: ml_collections.ConfigDict, data: PreparedData, workdir: epath.PathLike) -> int:
    """Makes a run of ours of Scenic's newest checkpoint in a workdir: `config.json` and `checkpoints/` beside it.

    Every command for runs then reads the workdir: evaluation with its report, prediction, export, `init_from`. The
    optimizer's moments are not carried over.

    Args:
      config: The configuration that Scenic trained with.
      data: The prepared data.
      workdir: Scenic's workdir.

    Returns:
      The step of the checkpoint.

    Raises:
      UserError: There is no checkpoint, or it is of another model.
    """
    path = newest_checkpoint(workdir)
    if path is None:
        raise UserError(f"{workdir}: no checkpoint of Scenic here: train first, or name the workdir of a Scenic run")
    variables, step = read_scenic(path)
    setup, state = set_up(experiment_spec(config), data)
    state = _filled(setup, state, variables, step, path)
    place = {"place": step * setup.spec.train.batch_size, "num_clips": len(data.sources["train"])}
    position = _Position(place | {"seed": setup.spec.seed})
    workdir = epath.Path(workdir)
    claim_workdir(workdir, setup.spec, data.regions, data.clip_length_s, num_clips=place["num_clips"], step=None)
    with contextlib.closing(Checkpointer(workdir)) as checkpointer:
        checkpointer.save(state, position)
    return step


def _filled(setup: Setup, state: TrainState, variables: Variables, step: int, path: epath.Path) -> TrainState:
    """The state with Scenic's variables, whose names and shapes must be the model's."""
    own = {"params": state.params, "batch_stats": state.batch_stats}
    shapes, given = (jax.tree.map(jnp.shape, tree) for tree in (own, variables))
    if shapes != given:
        raise UserError(
            f"{path}: of another model than the configuration's: pass the --config that it was trained with"
        )
    placed = {name: jax.device_put(variables[name], getattr(setup.shardings, name)) for name in own}
    return dataclasses.replace(state, step=jnp.int32(step), **placed)
