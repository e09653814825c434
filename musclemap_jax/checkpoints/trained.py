"""Reads the variables of a trained run without its configuration."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from musclemap_jax.checkpoints.checkpointer import Checkpointer


def is_workdir(path: str | os.PathLike) -> bool:
    """Whether a folder is the workdir of a run that has checkpoints."""
    return (epath.Path(path) / "checkpoints").is_dir()


def load_trained(workdir: str | os.PathLike, checkpoint: str = "best") -> dict[str, Any]:
    """Reads a checkpoint of a run, whose files are compared with their checksums first.

    Args:
      workdir: The run's workdir.
      checkpoint: `best` for the best one, or the newest if none was evaluated; `latest` for the newest.

    Returns:
      The variables that evaluation uses, {"params": ..., "batch_stats": ...}, as nested numpy arrays; "params" is the
      moving average of the parameters if there is one.

    Raises:
      UserError: There is no checkpoint, or the best one is damaged.
    """
    with contextlib.closing(Checkpointer(workdir, read_only=True)) as checkpointer:
        step = checkpointer.undamaged_step(checkpointer.best_step() if checkpoint == "best" else None)
    return _read_variables(
        checkpointer, step, lambda like: jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    )


def restore_variables(checkpointer: Checkpointer, step: int, shardings: dict[str, Any]) -> dict[str, Any]:
    """Reads the variables that evaluation uses, and nothing else, from a checkpoint.

    Args:
      checkpointer: The run's checkpoints.
      step: Step of an undamaged one, whose model fits (`Checkpointer.check_model`).
      shardings: {"params": ..., "batch_stats": ...}, the trees of their shardings.

    Returns:
      {"params": ..., "batch_stats": ...}; "params" is the moving average of the parameters if there is one.
    """
    by_name = shardings | {"ema": shardings["params"]}

    def restore_args(tree: dict[str, Any]) -> dict[str, Any]:
        return {
            name: jax.tree.map(lambda sharding: ocp.ArrayRestoreArgs(sharding=sharding), by_name[name]) for name in tree
        }

    return _read_variables(checkpointer, step, restore_args)


def _read_variables(
    checkpointer: Checkpointer, step: int, restore_args: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """The variables of a checkpoint; ``restore_args`` says how each array of a tree of them is read."""
    path = checkpointer.directory / str(step) / "state"
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(path).item_metadata.tree
        params = "ema" if tree.get("ema") else "params"
        wanted = {name: tree[name] for name in (params, "batch_stats") if tree.get(name)}
        args = ocp.args.PyTreeRestore(item=wanted, restore_args=restore_args(wanted), partial_restore=True)
        state = reader.restore(path, args=args)
    return {"params": state[params], "batch_stats": state.get("batch_stats") or {}}
