"""Acts on a run that `setup` has put together: trains, restores and evaluates."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
from etils import epath

from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.checkpoints.trained import restore_variables
from musclemap_jax.data.batch import Batch
from musclemap_jax.data.pipeline import TrainIterator
from musclemap_jax.errors import UserError
from musclemap_jax.eval.evaluator import EvalSplit
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.experiment.run_baselines import with_baselines
from musclemap_jax.experiment.setup import check_teacher, load_initial_weights, set_up
from musclemap_jax.experiment.workdir import DECISIONS, check_regions, claim_workdir
from musclemap_jax.runtime.barrier import barrier
from musclemap_jax.runtime.preemption import PreemptionNotice
from musclemap_jax.runtime.profiling import Profiler
from musclemap_jax.runtime.progress import Progress
from musclemap_jax.runtime.watchdog import Watchdog
from musclemap_jax.storage.run_log import RunLog
from musclemap_jax.storage.run_times import RunTimes
from musclemap_jax.train.loop import TrainingLoop

VALIDATION_SPLITS = ("val_known", "val_new")

log = logging.getLogger(__name__)


def validation_splits(data: PreparedData) -> list[str]:
    """The validation splits that have clips."""
    return [split for split in VALIDATION_SPLITS if split in data.sources]


def check_best_can_be_chosen(spec: ExperimentSpec, data: PreparedData) -> None:
    """Refuses a run whose report would be of the best checkpoint, where no clip says which that is."""
    if spec.eval.checkpoint == "best" and not validation_splits(data):
        raise UserError(
            f"config.eval.checkpoint: the best checkpoint is chosen on {' and '.join(VALIDATION_SPLITS)}, and the data "
            "has clips in neither: set config.eval.checkpoint=latest"
        )


class Experiment:
    """A run in its workdir.

    Attributes:
      spec: Everything the run depends on.
      workdir: The run's workdir.
      data: The prepared clips.
      state: The training state; after `restore` with the variables of an evaluation alone.
      scored: What the state is, for reports: ``newest checkpoint, step 2,000``.
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
          UserError: The mesh does not divide the devices or a batch.
        """
        self.workdir = epath.Path(workdir)
        self._notice = notice or PreemptionNotice()
        self._watchdog = Watchdog(spec.train.stall_timeout_s, "config.train.stall_timeout_s")
        self._setup, self.state = set_up(spec, data)
        self.spec = self._setup.spec
        self.data = data
        self.scored = "the initial parameters"
        self._evaluator = self._setup.evaluator(self.eval_batches)
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

    def train(
        self,
        profile_steps: range = range(0),
        times: RunTimes | None = None,
        extend: bool = False,
        compiled_step: str = "",
    ) -> None:
        """Trains to the end, from the newest checkpoint if the workdir holds one.

        Args:
          profile_steps: Steps to trace.
          times: Times of the run, saved with each checkpoint.
          extend: Whether the run in the workdir may become longer.
          compiled_step: File of the training step, compiled ahead; by default it is compiled here.

        Raises:
          UserError: The workdir holds a run with another configuration or other regions, `compiled_step` has another
            step, or a save failed.
          Preempted: The run was asked to stop; its state is saved.
        """
        setup, train = self._setup, self.spec.train
        check_best_can_be_chosen(self.spec, self.data)
        primary = jax.process_index() == 0
        with contextlib.ExitStack() as stack:
            checkpointer = stack.enter_context(contextlib.closing(Checkpointer(self.workdir, train.keep_checkpoints)))
            step = checkpointer.newest_undamaged_step()
            self._claim(step, extend)
            batches = stack.enter_context(contextlib.closing(setup.train_batches()))
            self._start(checkpointer, batches, step)
            first_step = int(self.state.step)
            run_log = RunLog(self.workdir, first_step, primary, times)
            progress = Progress(first_step, setup.num_steps, primary)
            loop = TrainingLoop(
                step_function=setup.step_function(compiled_step),
                kd_gradient=setup.kd_gradient(),
                batches=batches,
                mesh=setup.mesh,
                spec=train,
                num_steps=setup.num_steps,
                checkpointer=checkpointer,
                log=stack.enter_context(contextlib.closing(run_log)),
                progress=stack.enter_context(contextlib.closing(progress)),
                meter=setup.meter(),
                evaluate=self._validate,
                notice=self._notice,
                watchdog=self._watchdog,
                profiler=stack.enter_context(contextlib.closing(Profiler(self.workdir, profile_steps))),
            )
            if primary and first_step < setup.num_steps:
                # Those of a shorter training that is extended are calibrated on the logits of other weights.
                (self.workdir / DECISIONS).unlink(missing_ok=True)
            self.state = loop.run(self.state)
        self.scored = f"newest checkpoint, step {setup.num_steps:,}"

    def _claim(self, step: int | None, extend: bool) -> None:
        """Writes the workdir's configuration, and says what changes in a resumed run."""
        data = self.data
        changed = claim_workdir(
            self.workdir,
            self.spec,
            data.regions,
            data.clip_length_s,
            num_clips=len(data.sources["train"]),
            step=step,
            extend=extend,
        )
        for change in changed:
            log.info("from step %d on, config.%s", step, change)
        parts = self.spec.train.grad_accum_steps
        if self.state.batch_stats and any(change.key == "train.grad_accum_steps" for change in changed):
            size = self.spec.train.batch_size // parts
            log.warning(
                "batch norms now take their statistics over parts of %d clips, which changes what is learned", size
            )

    def _start(self, checkpointer: Checkpointer, batches: TrainIterator, step: int | None) -> None:
        """Takes the checkpoint of a step, or starts a new run."""
        checkpointer.scores.drop_after(step or 0)
        if step is None:
            check_teacher(self.spec)
            self.state = load_initial_weights(self._setup, self.state)
            return
        self.state = checkpointer.restore(self.state, self._setup.shardings, batches, step)
        log.info("resumed from step %d of %d", step, self._setup.num_steps)

    def restore(self) -> None:
        """Takes the variables of the newest or the best checkpoint of the workdir, by ``eval.checkpoint``.

        Raises:
          UserError: There is none, or it is of another model or other regions.
        """
        check_regions(self.workdir, self.data.regions)
        step, choice = None, "newest checkpoint"
        with contextlib.closing(Checkpointer(self.workdir, read_only=True)) as checkpointer:
            if self.spec.eval.checkpoint == "best":
                step = checkpointer.best_step()
                if step is None:
                    raise UserError(
                        f"{self.workdir}: no checkpoint here has validation scores, so none is the best: set "
                        "config.eval.checkpoint=latest"
                    )
                choice = f"best checkpoint by {checkpointer.scores.best_metric([step])}"
            step = checkpointer.undamaged_step(step)
            checkpointer.check_model(step, self.state.params, self.state.batch_stats)
            variables = restore_variables(checkpointer, step, self._setup.shardings.eval_variables)
        self.state = dataclasses.replace(self.state, step=jnp.int32(step), ema=None, opt_state=(), **variables)
        self.scored = f"{choice}, step {step:,}"

    def predict(self, split: str) -> SplitPredictions:
        """Predictions of the state on a split that has clips."""
        return self._evaluator.predict(self.state.eval_variables, split)

    def metrics(self, predictions: Mapping[str, SplitPredictions]) -> Metrics:
        """Metrics of predictions by split, on the scores that ``eval.scores`` says."""
        return self._evaluator.metrics(predictions)

    def beside_baselines(
        self, predictions: Mapping[str, SplitPredictions]
    ) -> tuple[dict[str, SplitPredictions], Metrics]:
        """The predictions with the scores of baselines on the same clips, which are fitted here, and their metrics."""
        predictions, remarks = with_baselines(self.data, predictions)
        return predictions, self._evaluator.metrics(predictions, remarks)

    def predict_clips(self, clips: EvalSplit) -> SplitPredictions:
        """Predictions of the state on clips that need not be a split of the data, such as changed ones."""
        return self._evaluator.predict_clips(self.state.eval_variables, clips)

    def eval_batches(self, split: str) -> Iterator[Batch]:
        """This process's batches of a split; the run may be asked to stop between two of them."""
        for batch in self._watchdog.watched(self._setup.eval_batches(split), f"batch of {split}, number"):
            self._notice.raise_if_reached()
            yield batch

    def _validate(self, state: TrainState) -> dict[str, float]:
        present = validation_splits(self.data)
        return self._evaluator.evaluate(state.eval_variables, present)[0].scalars() if present else {}
