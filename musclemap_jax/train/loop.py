"""The training loop: takes batches, steps, logs, evaluates and saves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import grain
import jax
import numpy as np
from jax.sharding import Mesh

from musclemap_jax.distributed.mesh import put_batch
from musclemap_jax.errors import UserError
from musclemap_jax.train.checkpoint import Checkpointer
from musclemap_jax.train.run_log import RunLog
from musclemap_jax.train.state import TrainState
from musclemap_jax.train.step import StepFunction


@dataclass(frozen=True)
class TrainSpec:
    """Length and rhythm of a run.

    Attributes:
      batch_size: clips in a step, over all processes.
      num_epochs: length of the run, where ``num_steps`` is 0.
      num_steps: length of the run in steps; 0 to go by epochs.
      accumulation: parts in which a step takes its batch, one after another, to save memory.
      log_every: steps between two log lines, of which each holds means.
      eval_every: steps between two evaluations of the validation splits; 0 for one at the end alone.
      checkpoint_every: steps between two checkpoints; each evaluation and the end save one too.
      keep_checkpoints: number of newest checkpoints kept, beside the best one.
      max_skipped: steps in a row whose loss or gradient was not finite, at which the run ends with an error.
    """

    batch_size: int = 64
    num_epochs: float = 50.0
    num_steps: int = 0
    accumulation: int = 1
    log_every: int = 10
    eval_every: int = 0
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    max_skipped: int = 10

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulation", "log_every", "checkpoint_every", "keep_checkpoints", "max_skipped"):
            if getattr(self, name) < 1:
                raise UserError(f"config.train.{name} must be at least 1, got {getattr(self, name)}")
        if self.num_steps < 0 or self.eval_every < 0 or (self.num_steps == 0 and self.num_epochs <= 0):
            raise UserError("config.train: num_epochs must be positive, num_steps and eval_every not negative")

    def total_steps(self, num_clips: int) -> int:
        """Number of steps of a run over a training split of ``num_clips`` clips."""
        return self.num_steps or math.ceil(self.num_epochs * num_clips / self.batch_size)


class NotFiniteError(RuntimeError):
    """Too many steps in a row had a loss or gradient that is not finite."""


class _Means:
    """Means of the metrics since the last log line, and where the time went."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._waiting = 0.0
        self._pausing = 0.0
        self._since = time.perf_counter()

    def waited(self, seconds: float) -> None:
        """Counts time spent waiting for data."""
        self._waiting += seconds

    def paused(self, seconds: float) -> None:
        """Leaves out time that was not spent on training, such as an evaluation's."""
        self._pausing += seconds

    def add(self, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Adds a step's metrics; blocks until they are computed."""
        row = {name: float(value) for name, value in metrics.items()}
        self._rows.append(row)
        return row

    def take(self, batch_size: int) -> dict[str, float]:
        """The means by name, with speed and the share of time spent waiting for data; starts anew."""
        elapsed = time.perf_counter() - self._since - self._pausing
        values = {f"train/{name}": float(np.mean([row[name] for row in self._rows])) for name in self._rows[0]}
        values["train/clips_per_second"] = len(self._rows) * batch_size / elapsed
        values["train/data_wait_share"] = self._waiting / elapsed
        self.__init__()
        return values


def train(
    state: TrainState,
    step_function: StepFunction,
    batches: grain.DatasetIterator,
    mesh: Mesh,
    spec: TrainSpec,
    num_steps: int,
    checkpointer: Checkpointer,
    log: RunLog,
    evaluate: Callable[[TrainState], dict[str, float]],
) -> TrainState:
    """Trains from the state's step to ``num_steps``.

    Args:
      state: of the run, new or restored; donated.
      step_function: the compiled step.
      batches: this process's share of the batches, standing where the state's step is.
      mesh: the device mesh.
      spec: rhythm of the run.
      num_steps: at which the run ends.
      checkpointer: saves the state with the position of ``batches``.
      log: takes the scalars.
      evaluate: scores a state on the validation splits: {name: value}.

    Returns:
      The state after the last step, saved.

    Raises:
      NotFiniteError: ``spec.max_skipped`` steps in a row were not finite.
    """
    first_step = int(state.step)
    means = _Means()
    pending: dict[str, jax.Array] | None = None

    def settle(step: int) -> None:
        """Takes the metrics of a step once it is computed; at most one step is in flight, which bounds the memory."""
        row = means.add(pending)
        if row["skipped"] >= spec.max_skipped:
            raise NotFiniteError(
                f"step {step}: loss or gradient was not finite in {int(row['skipped'])} steps in a row; the parameters "
                f"are still those of step {step - int(row['skipped'])}: lower config.optimizer.learning_rate"
            )
        if step % spec.log_every == 0 or step == num_steps:
            values = means.take(spec.batch_size)
            log.scalars(step, values)
            log.show(
                {
                    "loss": f"{values['train/loss']:.4f}",
                    "clips/s": f"{values['train/clips_per_second']:.1f}",
                    "wait": f"{values['train/data_wait_share']:.0%}",
                }
            )
        log.advance()

    for step in range(first_step + 1, num_steps + 1):
        started = time.perf_counter()
        batch = next(batches)
        means.waited(time.perf_counter() - started)
        state, metrics = step_function(state, put_batch(batch, mesh))
        if pending is not None:
            settle(step - 1)
        pending = metrics
        at_end = step == num_steps
        evaluates = at_end or (spec.eval_every and step % spec.eval_every == 0)
        if not (evaluates or step % spec.checkpoint_every == 0):
            continue
        settle(step)
        pending = None
        paused = time.perf_counter()
        scores = None
        if evaluates:
            scores = evaluate(state)
            log.scalars(step, scores)
        checkpointer.save(state, batches, scores)
        means.paused(time.perf_counter() - paused)
    checkpointer.wait()
    return state
