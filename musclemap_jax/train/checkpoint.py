"""Checkpoints on disk: the training state with the position in the data stream, written by Orbax.

A checkpoint is written beside its final name and renamed when it is whole, so a run that is killed in the middle of
a save goes on from the one before.
"""

from __future__ import annotations

from typing import Any

import grain
import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from musclemap_jax.distributed.sharding import path_name
from musclemap_jax.errors import UserError
from musclemap_jax.train.state import TrainState

BEST_METRIC = "val_mean/mAP"
"""The metric by which the best checkpoint is kept: mean of the macro mAP on val_known and val_new."""


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Path of each leaf -> its shape."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {path_name(path): tuple(leaf.shape) for path, leaf in leaves}


class Checkpointer:
    """Saves and restores a run's checkpoints under ``<workdir>/checkpoints``.

    Attributes:
      directory: where the checkpoints lie, one folder a step.
    """

    def __init__(self, workdir: epath.PathLike, keep: int = 2, read_only: bool = False) -> None:
        """Opens the folder; it is made when absent.

        Args:
          workdir: of the run.
          keep: number of newest checkpoints kept, beside the best by ``BEST_METRIC``.
          read_only: nothing is written or deleted.
        """
        self.directory = epath.Path(workdir).absolute() / "checkpoints"
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep),
                checkpoint_managers.BestN(
                    get_metric_fn=lambda metrics: metrics[BEST_METRIC], n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=lambda metrics: metrics[BEST_METRIC],  # without it the metrics are not written
                create=not read_only,
                read_only=read_only,
            ),
            item_names=("state", "data"),
        )

    def latest_step(self) -> int | None:
        """Number of steps taken by the newest checkpoint; None when there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the checkpoint with the highest ``BEST_METRIC``; None when none was evaluated."""
        scores = {step: self._manager.metrics(step) for step in self._manager.all_steps()}
        scores = {step: metrics[BEST_METRIC] for step, metrics in scores.items() if metrics}
        return max(scores, key=scores.__getitem__) if scores else None

    def save(self, state: TrainState, iterator: grain.DatasetIterator, metrics: dict[str, float] | None = None) -> None:
        """Starts to save; the write itself goes on in the background.

        Args:
          state: of the run; its step names the checkpoint.
          iterator: the training data, after the batch of the last step was taken.
          metrics: of an evaluation of this very state, if there was one.
        """
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), data=grain.checkpoint.CheckpointSave(iterator)),
            metrics=metrics if metrics and BEST_METRIC in metrics else None,
        )

    def restore(
        self, state: TrainState, shardings: Any, iterator: grain.DatasetIterator | None = None, step: int | None = None
    ) -> TrainState:
        """Reads a checkpoint into the given shardings, which may be of another mesh than the one it was saved from.

        Args:
          state: a state of the same structure; only shapes and types count.
          shardings: the tree of its shardings.
          iterator: set to its position after the checkpoint's last step, if given.
          step: the checkpoint's step; the newest by default.

        Raises:
          UserError: there is no checkpoint, or it is of another model.
        """
        step = self.latest_step() if step is None else step
        if step is None:
            raise UserError(f"{self.directory}: no checkpoint here: train first, or name the workdir of a trained run")
        abstract = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state, shardings
        )
        items = {"state": ocp.args.StandardRestore(abstract)}
        if iterator is not None:
            items["data"] = grain.checkpoint.CheckpointRestore(iterator)
        self._check_model(step, state)
        return self._manager.restore(step, args=ocp.args.Composite(**items))["state"]

    def _check_model(self, step: int, state: TrainState) -> None:
        """Raises UserError if a checkpoint's parameters are not those of the state, by name and shape."""
        path = self.directory / str(step) / "state"
        with ocp.PyTreeCheckpointer() as reader:
            tree = reader.metadata(path).item_metadata.tree
        for part in ("params", "batch_stats"):
            stored, expected = _shapes(tree.get(part) or {}), _shapes(getattr(state, part))
            for name in sorted(stored.keys() | expected.keys()):
                if stored.get(name) != expected.get(name):
                    raise UserError(
                        f"{path}: does not fit this configuration's model: {part}/{name} has shape {stored.get(name)} "
                        f"in the checkpoint and {expected.get(name)} in the model: use the configuration of "
                        "the run, or another --workdir"
                    )

    def wait(self) -> None:
        """Blocks until what was started to save lies on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and gives the folder back."""
        self.wait()
        self._manager.close()
