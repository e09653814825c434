"""The training loop: takes batches, steps, logs, saves, evaluates, and stops when asked to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import jax
from jax.sharding import Mesh

from musclemap_jax.checkpoints.checkpointer import Checkpointer, DataPosition
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.data.batch import Batch
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.heap import tidy_heap
from musclemap_jax.runtime.preemption import Preempted, PreemptionNotice
from musclemap_jax.runtime.profiling import Profiler
from musclemap_jax.runtime.progress import Progress
from musclemap_jax.runtime.watchdog import Watchdog
from musclemap_jax.sharding.mesh import put_batch
from musclemap_jax.storage.run_log import RunLog
from musclemap_jax.train.kd_gradient import KdGradient
from musclemap_jax.train.meter import Meter
from musclemap_jax.train.mixing import MixingSpec
from musclemap_jax.train.step import StepFunction

_MOST_STEPS = 2**31 - 1


@dataclass(frozen=True)
class TrainSpec:
    """Length of a run and the intervals of its events.

    Attributes:
      batch_size: Clips per step, over all processes, each counted as often as it is in the batch.
      samples_per_clip: Number of times that each clip is in a batch, every time with other frames and another
        augmentation (repeated augmentation); an epoch has as many steps more.
      mixing: Mixup and CutMix of the clips of a batch.
      num_epochs: Length of the run in epochs; used if ``num_steps`` is 0.
      num_steps: Length of the run in steps; 0 to use ``num_epochs``.
      grad_accum_steps: Number of equal parts in which a step computes its batch, one after another, to save memory.
      log_every: Steps between log lines; each line holds means over these steps.
      eval_every: Steps between evaluations of the validation splits; 0 to evaluate only at the end.
      checkpoint_every: Steps between checkpoints; each evaluation and the end of the run save one too.
      keep_checkpoints: Number of newest checkpoints kept, besides the best one.
      kd_gradient_every: Steps between measurements of distillation's fraction of the gradient (`kd_gradient.py`), each
        of which takes about as long as a step and a half; 0 for none.
      max_skipped: Number of skipped steps in a row (loss or gradient not finite) at which the run ends with an error.
      stall_timeout_s: Seconds without a batch after which the run ends with an error.
    """

    batch_size: int = 64
    samples_per_clip: int = 1
    mixing: MixingSpec = field(default_factory=MixingSpec)
    num_epochs: float = 50.0
    num_steps: int = 0
    grad_accum_steps: int = 1
    log_every: int = 10
    eval_every: int = 0
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    kd_gradient_every: int = 0
    max_skipped: int = 10
    stall_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        names = ("batch_size", "samples_per_clip", "grad_accum_steps")
        for name in (*names, "log_every", "checkpoint_every", "keep_checkpoints", "max_skipped"):
            if getattr(self, name) < 1:
                raise UserError(f"config.train.{name} must be at least 1, got {getattr(self, name)}")
        if self.batch_size % self.samples_per_clip:
            raise UserError(
                f"config.train.batch_size={self.batch_size} is not a multiple of {self.samples_per_clip} "
                "(samples_per_clip): a batch holds all samples of its clips"
            )
        if min(self.num_steps, self.eval_every, self.kd_gradient_every) < 0:
            raise UserError("config.train: num_steps, eval_every and kd_gradient_every must not be negative")
        if self.num_steps == 0 and self.num_epochs <= 0:
            raise UserError("config.train: num_epochs must be positive where num_steps is 0")
        if self.stall_timeout_s <= 0:
            raise UserError(f"config.train.stall_timeout_s must be positive, got {self.stall_timeout_s}")

    def total_steps(self, num_clips: int) -> int:
        """Number of steps of a run over a training split of ``num_clips`` clips.

        Raises:
          UserError: They are more than an int32 counts.
        """
        total = self.num_steps or math.ceil(self.num_epochs * num_clips * self.samples_per_clip / self.batch_size)
        if total > _MOST_STEPS:
            raise UserError(f"config.train: a run has at most {_MOST_STEPS} steps, got {total}: lower its length")
        return total


class NotFiniteError(UserError):
    """Too many steps in a row had a loss or gradient that is not finite; the same command would end the same way."""


@dataclass
class _Due:
    """What is to be done after a step, or after the next one that is not skipped."""

    stop: bool = False
    checkpoint: bool = False
    evaluation: bool = False

    def __bool__(self) -> bool:
        return self.stop or self.checkpoint or self.evaluation


class TrainingData(DataPosition, Iterator[Batch], Protocol):
    """This process's part of the batches, without end, as an iterator whose state can be saved."""


@dataclass(frozen=True)
class TrainingLoop:
    """The loop and everything that it calls.

    Attributes:
      batches: The training data; its next batch is that of the state's next step.
      num_steps: The last step.
      checkpointer: Saves the state of the run and of ``batches``.
      evaluate: Scores a state on the validation splits: {name: value}.
      notice: Says when to stop early.
      watchdog: Ends the process if no batch comes.
      kd_gradient: Measures distillation's fraction of the gradient, every ``spec.kd_gradient_every`` steps.
    """

    step_function: StepFunction
    batches: TrainingData
    mesh: Mesh
    spec: TrainSpec
    num_steps: int
    checkpointer: Checkpointer
    log: RunLog
    progress: Progress
    meter: Meter
    evaluate: Callable[[TrainState], dict[str, float]]
    notice: PreemptionNotice
    watchdog: Watchdog
    profiler: Profiler
    kd_gradient: KdGradient | None = None

    def run(self, state: TrainState) -> TrainState:
        """Trains from the step of a new or restored state, which is donated; returns the last state, saved.

        Nothing is saved or evaluated while steps are skipped, so that the checkpoint before them stays: that waits for
        the next finite step, or for the last one of the run.

        Raises:
          NotFiniteError: ``spec.max_skipped`` steps in a row were skipped.
          Preempted: The run was asked to stop; the state is saved.
          UserError: A checkpoint could not be written.
        """
        first_step = int(state.step)
        if first_step and self._evaluates(first_step) and not self.checkpointer.scores.has(first_step):
            with self.meter.pausing():  # the run was stopped between this checkpoint and its evaluation
                self._validate(state, first_step)
        pending: dict[str, jax.Array] | None = None
        due = _Due()
        for step in range(first_step + 1, self.num_steps + 1):
            self.profiler.before(step)
            with self.meter.waiting(), self.watchdog.waiting_for(f"the training batch of step {step}"):
                batch = next(self.batches)
            batch = put_batch(batch, self.mesh)
            measured = self._measure(step, state, batch)
            state, metrics = self.step_function(state, batch)
            metrics |= measured
            if pending is not None:
                self._settle(step - 1, pending)
            pending = metrics
            if self.profiler.ends_with(step):
                jax.block_until_ready(metrics)
                self.profiler.close()
            self.checkpointer.check()
            due.stop |= self.notice.reached()
            due.evaluation |= self._evaluates(step)
            due.checkpoint |= step % self.spec.checkpoint_every == 0
            if due:
                skipped = self._settle(step, pending)
                pending = None
                if not skipped or step == self.num_steps:
                    with self.meter.pausing():
                        self._save(state, step, due)
                    due = _Due()
        self.checkpointer.wait()
        return state

    def _measure(self, step: int, state: TrainState, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """What is measured in some steps only, of the state before the step."""
        every = self.spec.kd_gradient_every
        return self.kd_gradient(state, batch) if self.kd_gradient and every and step % every == 0 else {}

    def _evaluates(self, step: int) -> bool:
        return step == self.num_steps or bool(self.spec.eval_every and step % self.spec.eval_every == 0)

    def _settle(self, step: int, metrics: dict[str, jax.Array]) -> int:
        """Waits for the metrics of a step and logs them; at most one step is in flight, which bounds memory.

        Returns:
          The number of skipped steps in a row.
        """
        skipped = int(self.meter.add(metrics)["skipped"])
        if skipped >= self.spec.max_skipped:
            saved = self.checkpointer.latest_step()
            start = (
                ""
                if saved is None
                else (
                    f", with another --workdir and config.init_from.model={self.checkpointer.directory.parent}, which "
                    f"starts from the checkpoint of step {saved}"
                )
            )
            raise NotFiniteError(
                f"step {step}: loss or gradient was not finite in {skipped} steps in a row; the parameters are still "
                f"those of step {step - skipped}: lower config.optimizer.learning_rate{start}"
            )
        if step % self.spec.log_every == 0 or step == self.num_steps:
            values = self.meter.take()
            self.log.scalars(step, values)
            loss, speed, wait = (values[f"train/{n}"] for n in ("loss", "clips_per_second", "data_wait_fraction"))
            self.progress.show(step, {"loss": f"{loss:.4f}", "clips/s": f"{speed:.1f}", "wait": f"{wait:.0%}"})
        self.progress.advance()
        return skipped

    def _save(self, state: TrainState, step: int, due: _Due) -> None:
        """Saves, and evaluates the saved state if that is due, while it is written."""
        self.checkpointer.save(state, self.batches)
        self.log.flush()
        if due.stop:
            self.checkpointer.wait()
            folder = self.checkpointer.directory
            raise Preempted(f"the state after step {step} of {self.num_steps} is saved in {folder}")
        if due.evaluation:
            self._validate(state, step)
        tidy_heap()

    def _validate(self, state: TrainState, step: int) -> None:
        scores = self.evaluate(state)
        self.log.scalars(step, scores)
        self.progress.report(step, {name: f"{score:.4f}" for name, score in scores.items() if name.endswith("/mAP")})
        self.log.flush()
        self.checkpointer.scores.add(step, scores)
