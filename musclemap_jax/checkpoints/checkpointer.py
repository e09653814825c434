"""Checkpoints on disk: the training state and the state of the data iterator, written by Orbax.

A checkpoint is written under a temporary name and renamed when it is complete, so a run that is killed during a save
resumes from the one before. Its files are compared with their checksums before they are read; a damaged checkpoint is
moved aside.
"""

from __future__ import annotations

import contextlib
import logging
import time
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
from musclemap_jax.storage.full_disk import is_full_disk

CHECKPOINTS = "checkpoints"
DAMAGED = "damaged_checkpoints"
_POLL_S = 0.005
_NO_STEP = -1
_TEXT_BYTES = 256

log = logging.getLogger(__name__)


class DataPosition(Protocol):
    """A data iterator whose state is a small JSON-able value, the same on every process."""

    def get_state(self) -> dict[str, Any]:
        """The state."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a state."""


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Path of each leaf -> its shape."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {path_name(path): tuple(leaf.shape) for path, leaf in leaves}


def _agreed(step: int | None) -> int | None:
    """Process 0's value, on every process."""
    if jax.process_count() == 1:
        return step
    agreed = int(multihost_utils.broadcast_one_to_all(np.int32(_NO_STEP if step is None else step)))
    return None if agreed == _NO_STEP else agreed


class _Manager(ocp.CheckpointManager):
    """Orbax's manager with three differences.

    Attributes:
      failure: What ended a save in the background, if anything.
    """

    failure: BaseException | None = None

    def reached_preemption(self, step: int) -> bool:
        """Never: the training loop asks whether the run has to stop.

        JAX takes the number in such a question for the progress of the process; the loop and Orbax count differently.
        """
        del step
        return False

    def _wait_for_checkpointers(self) -> None:
        """Records a failure, before Orbax's thread waits for the other processes, which will not come."""
        try:
            super()._wait_for_checkpointers()
        except BaseException as error:
            self.failure = error
            raise

    def _load_checkpoint_infos(self, *arguments: Any, **options: Any) -> Any:
        """Retries once if the folder vanished after Orbax had found it.

        On cloud storage a folder vanishes with its last file, and the remains of an interrupted save are removed in the
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
      directory: The folder of the checkpoints, one subfolder per step.
      scores: Validation scores by step.
    """

    def __init__(self, workdir: epath.PathLike, keep: int = 2, read_only: bool = False) -> None:
        """Opens the folder; makes it if absent.

        Args:
          keep: Number of newest checkpoints kept, besides the best by `validation_scores.BEST_METRIC`.
          read_only: Whether nothing may be written, moved or deleted.
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
        """Step of the newest checkpoint; None if there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Step of the best checkpoint by validation; None if none was evaluated."""
        return _agreed(self.scores.best(self._manager.all_steps()))

    def save(self, state: TrainState, data: DataPosition) -> None:
        """Starts saving, unless this step is already saved; writing continues in the background.

        Args:
          state: The training state; its step names the checkpoint.
          data: The training data, after the batch of the last step was taken.

        Raises:
          UserError: This save or the one before failed, such as on a full disk; earlier checkpoints are kept.
        """
        step = int(state.step)
        self.wait()
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(data.get_state()))
        with self._failure_is_user_error():
            self._manager.save(step, args=items)

    def newest_undamaged_step(self) -> int | None:
        """Step of the newest undamaged checkpoint; None if there is none.

        Newer damaged ones are moved to ``<workdir>/damaged_checkpoints`` and logged.
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

    def undamaged_step(self, step: int | None = None) -> int:
        """The given step, once its files have been compared with their checksums; None for the newest undamaged one.

        Raises:
          UserError: That checkpoint is damaged, or there is none.
        """
        if step is None:
            step = self.newest_undamaged_step()
        elif damage := self._damage(step):
            raise UserError(
                f"{self.directory / str(step)}: damaged: {damage}: restore this folder from a copy, delete it to use "
                "another checkpoint, or set config.eval.checkpoint='latest'"
            )
        if step is None:
            raise UserError(f"{self.directory}: no checkpoint here: train first, or name the workdir of a trained run")
        return step

    def restore(
        self, state: TrainState, shardings: Any, data: DataPosition | None = None, step: int | None = None
    ) -> TrainState:
        """Reads a checkpoint into the given shardings, whose mesh may differ from the one it was saved from.

        Args:
          state: A state of the same structure; only shapes and dtypes count.
          shardings: The tree of its shardings.
          data: If given, the data iterator that continues after the checkpoint's last batch.
          step: Step of the checkpoint; by default that of the newest undamaged one.

        Raises:
          UserError: There is no checkpoint, it is damaged, or it is of another model.
        """
        step = self.undamaged_step(step)
        abstract = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state, shardings
        )
        items = {"state": ocp.args.StandardRestore(abstract)}
        if data is not None:
            items["data"] = ocp.args.JsonRestore()
        self.check_model(step, state.params, state.batch_stats)
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        if data is not None:
            data.set_state(restored["data"])
        return restored["state"]

    def _damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint's files, if anything; only process 0 reads them."""
        damage = find_damage(self.directory / str(step)) if jax.process_index() == 0 else None
        if jax.process_count() == 1:
            return damage
        text = (damage or "").encode()[:_TEXT_BYTES].ljust(_TEXT_BYTES, b"\0")
        agreed = multihost_utils.broadcast_one_to_all(np.frombuffer(text, np.uint8))
        return bytes(np.asarray(agreed)).rstrip(b"\0").decode() or None

    def _set_aside(self, step: int, damage: str) -> None:
        path = self.directory / str(step)
        if self._read_only:
            log.warning("checkpoint %s is damaged (%s) and skipped", path, damage)
            return
        folder = self.directory.parent / DAMAGED
        aside, number = folder / str(step), 1
        while aside.exists():
            number += 1
            aside = folder / f"{step}_{number}"
        move_folder(path, aside)
        log.warning("checkpoint %s is damaged (%s): moved to %s; using the one before", path, damage, aside)

    def check_model(self, step: int, params: Any, batch_stats: Any) -> None:
        """Raises UserError unless a checkpoint's parameters and statistics have the given names and shapes."""
        path = self.directory / str(step) / "state"
        with ocp.PyTreeCheckpointer() as reader:
            tree = reader.metadata(path).item_metadata.tree
        for part, given in {"params": params, "batch_stats": batch_stats}.items():
            stored, expected = _shapes(tree.get(part) or {}), _shapes(given)
            for name in sorted(stored.keys() | expected.keys()):
                if stored.get(name) != expected.get(name):
                    raise UserError(
                        f"{path}: does not fit this configuration's model: {part}/{name} has shape {stored.get(name)} "
                        f"in the checkpoint and {expected.get(name)} in the model: use the run's configuration, or "
                        "another --workdir"
                    )

    @contextlib.contextmanager
    def _failure_is_user_error(self) -> Generator[None]:
        """Turns a failed write into a UserError.

        Errors of JAX's runtime pass: they come from another process that died or failed, whose own words say more.
        """
        try:
            yield
        except (UserError, jax.errors.JaxRuntimeError) as error:
            self._manager.failure = error
            raise
        except Exception as error:
            self._manager.failure = error
            if is_full_disk(error):
                what, fix = "the disk was full while a checkpoint was written", "free some space"
            else:
                reason = str(error).strip().partition("\n")[0]
                what, fix = f"a checkpoint could not be written ({type(error).__name__}: {reason})", "correct that"
            raise UserError(
                f"{self.directory}: {what}; {self._kept()}: {fix} and run the same command to resume from there"
            ) from error

    def _kept(self) -> str:
        """Which checkpoint a failed save has left."""
        kept = None
        with contextlib.suppress(Exception):  # the folder may be what is damaged
            self._manager.reload()
            kept = self.latest_step()
        return "there is no earlier checkpoint" if kept is None else f"the checkpoint of step {kept} is kept"

    def check(self) -> None:
        """Raises, without waiting, if writing has failed in the background since the last `save`.

        Raises:
          UserError: It has, such as on a full disk; earlier checkpoints are kept.
        """
        if self._manager.failure is not None:
            with self._failure_is_user_error():
                raise self._manager.failure

    def wait(self) -> None:
        """Blocks until everything that `save` started is on disk.

        Raises:
          UserError: Writing failed, such as on a full disk; earlier checkpoints are kept.
        """
        while self._manager.is_saving_in_progress():
            self.check()
            time.sleep(_POLL_S)
        with self._failure_is_user_error():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and releases the folder; after a failure it does not wait, since other processes may not come."""
        if self._manager.failure is None:
            self.wait()
            self._manager.close()
