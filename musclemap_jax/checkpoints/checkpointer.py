"""Checkpoints on disk: the training state with the position in the data stream, written by Orbax.

A checkpoint is written beside its final name and renamed when it is whole, so a run that is killed in the middle of
a save goes on from the one before; its files are compared with their checksums before they are read, and one that was
damaged since is set aside.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from typing import Any, Protocol

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from musclemap_jax.checkpoints.checksums import checkpoint_path_class, find_damage
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.checkpoints.validation_scores import KeepBest, ValidationScores
from musclemap_jax.errors import UserError
from musclemap_jax.sharding.rules import path_name
from musclemap_jax.storage.files import is_remote, move_folder

CHECKPOINTS = "checkpoints"
DAMAGED = "damaged_checkpoints"
_DISK_FULL = ("No space left on device", "Disk quota exceeded")
_NO_STEP = -1
_TEXT_BYTES = 256

log = logging.getLogger(__name__)


class DataPosition(Protocol):
    """A data stream whose position is a small JSON-able value, the same on every process."""

    def get_state(self) -> dict[str, Any]:
        """The position."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a position."""


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Path of each leaf -> its shape."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {path_name(path): tuple(leaf.shape) for path, leaf in leaves}


def _agreed(step: int | None) -> int | None:
    """What process 0 says, on every process."""
    if jax.process_count() == 1:
        return step
    said = int(multihost_utils.broadcast_one_to_all(np.int32(_NO_STEP if step is None else step)))
    return None if said == _NO_STEP else said


class _Manager(ocp.CheckpointManager):
    """Orbax's, with two differences."""

    def reached_preemption(self, step: int) -> bool:
        """Not asked here whether the run is told to stop: the loop asks it, counting all its own calls.

        JAX takes the number of the last call for how far a process is, so numbers of two kinds would confuse it.
        """
        del step
        return False

    def _load_checkpoint_infos(self, *arguments: Any, **options: Any) -> Any:
        """Looks again where the folder was gone between Orbax's two looks, whether it is there and what it holds.

        On cloud storage a folder is gone with its last file, and what an interrupted save has left is removed in the
        background.
        """
        try:
            return super()._load_checkpoint_infos(*arguments, **options)
        except FileNotFoundError:
            return super()._load_checkpoint_infos(*arguments, **options)


class Checkpointer:
    """Saves and restores a run's checkpoints under ``<workdir>/checkpoints``.

    Every process of a run calls the same methods in the same order.

    Attributes:
      directory: where the checkpoints lie, one folder a step.
      scores: of the validation, by step.
    """

    def __init__(self, workdir: epath.PathLike, keep: int = 2, read_only: bool = False) -> None:
        """Opens the folder; it is made when absent.

        Args:
          workdir: of the run.
          keep: number of newest checkpoints kept, beside the best by `validation_scores.BEST_METRIC`.
          read_only: nothing is written, set aside or deleted.
        """
        workdir = epath.Path(workdir)
        self.directory = (workdir if is_remote(workdir) else workdir.absolute()) / CHECKPOINTS
        self._read_only = read_only
        self.scores = ValidationScores(self.directory.parent, writes=jax.process_index() == 0 and not read_only)
        self._manager = _Manager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                    [checkpoint_managers.LatestN(keep), KeepBest(self.scores)]
                ),
                create=not read_only,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
                temporary_path_class=checkpoint_path_class(self.directory),
            ),
            item_names=("state", "data"),
        )

    def latest_step(self) -> int | None:
        """Number of steps taken by the newest checkpoint; None when there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the best checkpoint by the validation; None when none was evaluated."""
        return _agreed(self.scores.best(self._manager.all_steps()))

    def save(self, state: TrainState, data: DataPosition) -> None:
        """Starts to save, unless this step is saved already; the write itself goes on in the background.

        Args:
          state: of the run; its step names the checkpoint.
          data: the training data, after the batch of the last step was taken.

        Raises:
          UserError: the disk is full; the checkpoints before are kept.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        with self._naming_a_full_disk():
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(data.get_state())),
            )

    def newest_whole_step(self) -> int | None:
        """The newest checkpoint whose files are as they were written; None when there is none.

        Damaged ones that are newer are moved to ``<workdir>/damaged_checkpoints`` and named in the log.
        """
        chosen = None
        if jax.process_index() == 0:
            for step in sorted(self._manager.all_steps(), reverse=True):
                damage = find_damage(self.directory / str(step))
                if damage is None:
                    chosen = step
                    break
                self._set_aside(step, damage)
        chosen = _agreed(chosen)
        self._manager.reload()
        return chosen

    def restore(
        self, state: TrainState, shardings: Any, data: DataPosition | None = None, step: int | None = None
    ) -> TrainState:
        """Reads a checkpoint into the given shardings, which may be of another mesh than the one it was saved from.

        Args:
          state: a state of the same structure; only shapes and types count.
          shardings: the tree of its shardings.
          data: set to its position after the checkpoint's last step, if given.
          step: the checkpoint's step; the newest that is not damaged by default.

        Raises:
          UserError: there is no checkpoint, it is damaged, or it is of another model.
        """
        if step is None:
            step = self.newest_whole_step()
        elif damage := self._damage(step):
            raise UserError(f"{self.directory / str(step)}: damaged: {damage}: take config.eval.checkpoint='latest'")
        if step is None:
            raise UserError(f"{self.directory}: no checkpoint here: train first, or name the workdir of a trained run")
        abstract = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state, shardings
        )
        items = {"state": ocp.args.StandardRestore(abstract)}
        if data is not None:
            items["data"] = ocp.args.JsonRestore()
        self._check_model(step, state)
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        if data is not None:
            data.set_state(restored["data"])
        return restored["state"]

    def _damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files; process 0 alone reads them all."""
        damage = find_damage(self.directory / str(step)) if jax.process_index() == 0 else None
        if jax.process_count() == 1:
            return damage
        text = (damage or "").encode()[:_TEXT_BYTES].ljust(_TEXT_BYTES, b"\0")
        agreed = multihost_utils.broadcast_one_to_all(np.frombuffer(text, np.uint8))
        return bytes(np.asarray(agreed)).rstrip(b"\0").decode() or None

    def _set_aside(self, step: int, damage: str) -> None:
        path = self.directory / str(step)
        if self._read_only:
            log.warning("checkpoint %s is damaged (%s) and not used", path, damage)
            return
        folder = self.directory.parent / DAMAGED
        aside = folder / str(step)
        number = 1
        while aside.exists():
            number += 1
            aside = folder / f"{step}_{number}"
        move_folder(path, aside)
        log.warning("checkpoint %s is damaged (%s): moved to %s, the one before is used", path, damage, aside)

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

    @contextlib.contextmanager
    def _naming_a_full_disk(self) -> Generator[None]:
        """Turns the errors of a write that found no space, now or in the background, into the user's."""
        try:
            yield
        except Exception as error:
            if not any(words in str(error) for words in _DISK_FULL):
                raise
            self._manager.reload()
            kept = self.latest_step()
            rest = "no checkpoint is kept" if kept is None else f"the checkpoint of step {kept} is kept"
            raise UserError(
                f"{self.directory}: the disk was full while a checkpoint was written; {rest}: "
                "free some space and give the same command to go on from there"
            ) from error

    def wait(self) -> None:
        """Blocks until what was started to save lies on disk.

        Raises:
          UserError: the disk is full; the checkpoints before are kept.
        """
        with self._naming_a_full_disk():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and gives the folder back."""
        self.wait()
        self._manager.close()
