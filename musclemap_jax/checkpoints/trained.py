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
    path = checkpointer.directory / str(step) / "state"
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(path).item_metadata.tree
        wanted = {name: tree[name] for name in ("params", "ema", "batch_stats") if tree.get(name)}
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        args = ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy, partial_restore=True)
        state = reader.restore(path, args=args)
    return {"params": state.get("ema") or state["params"], "batch_stats": state.get("batch_stats") or {}}
