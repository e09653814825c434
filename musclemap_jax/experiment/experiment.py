"""Acts on a run that `setup` has put together: trains, restores and evaluates."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import jax
from etils import epath

from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.data.batch import Batch
from musclemap_jax.data.pipeline import TrainIterator
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.experiment.setup import load_initial_weights, set_up
from musclemap_jax.experiment.workdir import check_regions, claim_workdir
from musclemap_jax.runtime.barrier import barrier
from musclemap_jax.runtime.preemption import PreemptionNotice
from musclemap_jax.runtime.profiling import Profiler
from musclemap_jax.runtime.watchdog import Watchdog
from musclemap_jax.storage.run_log import RunLog
from musclemap_jax.storage.run_times import RunTimes
from musclemap_jax.train.loop import TrainingLoop

VALIDATION_SPLITS = ("val_known", "val_new")

log = logging.getLogger(__name__)


class Experiment:
    """A run in its workdir.

    Attributes:
      spec: Everything the run depends on.
      workdir: The run's workdir.
      data: The prepared clips.
      state: The training state.
    """

    def __init__(
        self, spec: ExperimentSpec, workdir: epath.PathLike, data: PreparedData, notice: PreemptionNotice | None = None
    ) -> None:
        """Sets the run up, with random parameters.

        Args:
          spec: The result of `config.resolve`.
          workdir: The run's workdir; made if absent.
          data: The result of `load_data`.
          notice: Says when to stop early; by default never.

        Raises:
          UserError: The mesh does not divide the devices or a batch, or the workdir's run has other regions.
        """
        self.workdir = epath.Path(workdir)
        check_regions(self.workdir, data.regions)
        self._notice = notice or PreemptionNotice()
        self._watchdog = Watchdog(spec.train.stall_timeout_s, "config.train.stall_timeout_s")
        self._setup, self.state = set_up(spec, data)
        self.spec = self._setup.spec
        self.data = data
        self._evaluator = self._setup.evaluator(self._eval_batches)
        barrier("experiment")

    def parameter_counts(self) -> dict[str, int]:
        """Number of parameters of each part of the model."""
        return {
            name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in sorted(self.state.params.items())
        }

    @property
    def num_steps(self) -> int:
        """Number of steps of the whole run."""
        return self._setup.num_steps

    def train(self, profile_steps: range = range(0), times: RunTimes | None = None) -> None:
        """Trains to the end, from the newest checkpoint if the workdir holds one.

        Args:
          profile_steps: Steps to trace.
          times: Times of the run, saved with each checkpoint.

        Raises:
          UserError: The workdir holds a run with another configuration or other regions, or a save failed.
          Preempted: The run was asked to stop; its state is saved.
        """
        setup, train = self._setup, self.spec.train
        claim_workdir(self.workdir, self.spec, self.data.regions, self.data.clip_length_s)
        primary = jax.process_index() == 0
        with contextlib.ExitStack() as stack:
            checkpointer = stack.enter_context(contextlib.closing(Checkpointer(self.workdir, train.keep_checkpoints)))
            batches = stack.enter_context(contextlib.closing(setup.train_batches()))
            self._resume(checkpointer, batches)
            run_log = RunLog(self.workdir, int(self.state.step), setup.num_steps, primary, times)
            loop = TrainingLoop(
                step_function=setup.step_function(),
                batches=batches,
                mesh=setup.mesh,
                spec=train,
                num_steps=setup.num_steps,
                checkpointer=checkpointer,
                log=stack.enter_context(contextlib.closing(run_log)),
                meter=setup.meter(),
                evaluate=self._validate,
                notice=self._notice,
                watchdog=self._watchdog,
                profiler=stack.enter_context(contextlib.closing(Profiler(self.workdir, profile_steps))),
            )
            self.state = loop.run(self.state)

    def _resume(self, checkpointer: Checkpointer, batches: TrainIterator) -> None:
        """Takes the newest undamaged checkpoint, or starts a new run."""
        step = checkpointer.newest_undamaged_step()
        if step is None:
            self.state = load_initial_weights(self._setup, self.state)
            return
        self.state = checkpointer.restore(self.state, self._setup.shardings, batches, step)
        checkpointer.scores.drop_after(step)
        log.info("resumed from step %d of %d", step, self._setup.num_steps)

    def restore(self) -> None:
        """Restores the newest or the best checkpoint of the workdir, by ``eval.checkpoint``.

        Raises:
          UserError: There is none, or it is of another model.
        """
        with contextlib.closing(Checkpointer(self.workdir, read_only=True)) as checkpointer:
            step = checkpointer.best_step() if self.spec.eval.checkpoint == "best" else None
            self.state = checkpointer.restore(self.state, self._setup.shardings, step=step)

    def evaluate(self, splits: Sequence[str]) -> tuple[Metrics, dict[str, SplitPredictions]]:
        """Metrics and predictions of the state on the given splits, each of which has clips."""
        return self._evaluator.evaluate(self.state.eval_variables, splits)

    def predict(self, split: str) -> SplitPredictions:
        """Predictions of the state on a split that has clips."""
        return self._evaluator.predict(self.state.eval_variables, split)

    def _validate(self, state: TrainState) -> dict[str, float]:
        present = [split for split in VALIDATION_SPLITS if split in self.data.sources]
        return self._evaluator.evaluate(state.eval_variables, present)[0].scalars() if present else {}

    def _eval_batches(self, split: str) -> Iterator[Batch]:
        """This process's batches of a split; the run may be asked to stop between two of them."""
        for batch in self._watchdog.watched(self._setup.eval_batches(split), f"batch of {split}, number"):
            self._notice.raise_if_reached()
            yield batch
