"""Reads the variables of a trained run without its configuration."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.errors import UserError


def is_workdir(path: str | os.PathLike) -> bool:
    """Whether a folder is the workdir of a run that has checkpoints."""
    return (epath.Path(path) / "checkpoints").is_dir()


def load_trained(workdir: str | os.PathLike, checkpoint: str = "best") -> dict[str, Any]:
    """Reads a checkpoint of a run.

    Args:
      workdir: The run's workdir.
      checkpoint: `best` for the best one, or the newest if none was evaluated; `latest` for the newest.

    Returns:
      The variables that evaluation uses, {"params": ..., "batch_stats": ...}, as nested numpy arrays; "params" is the
      moving average of the parameters if there is one.

    Raises:
      UserError: There is no checkpoint.
    """
    with contextlib.closing(Checkpointer(workdir, read_only=True)) as checkpointer:
        step = checkpointer.best_step() if checkpoint == "best" else None
        step = checkpointer.newest_undamaged_step() if step is None else step
    if step is None:
        raise UserError(f"{workdir}: no checkpoint here: train first, or name the workdir of a trained run")
    path = epath.Path(checkpointer.directory) / str(step) / "state"
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(path).item_metadata.tree
        wanted = {name: tree[name] for name in ("params", "ema", "batch_stats") if tree.get(name)}
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        args = ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy, partial_restore=True)
        state = reader.restore(path, args=args)
    return {"params": state.get("ema") or state["params"], "batch_stats": state.get("batch_stats") or {}}
