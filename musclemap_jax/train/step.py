"""The training step: a pure function (state, batch) -> (state, metrics), compiled as one program.

Randomness is drawn from the run's seed and the step's number. A step whose loss or gradient is not finite is skipped:
it changes only the two counters.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.runtime.barrier import SynchronizedJit
from musclemap_jax.runtime.saved_program import load_program
from musclemap_jax.sharding.activation_sharding import clip_sharding
from musclemap_jax.sharding.context import with_mesh
from musclemap_jax.sharding.mesh import batch_sharding, count_slices, replicated
from musclemap_jax.train.multipliers import Multipliers, map_factors
from musclemap_jax.train.training_loss import Batch, Metrics, TrainingLoss

StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
_Changing = tuple[Any, Any, Any]
"""Parameters, batch statistics and optimizer state, which a step changes unless it is skipped."""


def split_batch(batch: Batch, num_parts: int) -> Batch:
    """A batch in equal parts, along a new first axis.

    Every part takes clips from every device's shard, without communication. If parts have an even number of clips, the
    clip at place j from the end of a part is the partner (`mixing.py`) of the one at place j from its beginning.
    """

    def split(x: jax.Array) -> jax.Array:
        rows = x.reshape(-1, num_parts, *x.shape[1:])
        late = (jnp.arange(len(rows)) >= len(rows) // 2).reshape(-1, *(1,) * x.ndim)
        return jnp.where(late, rows[:, ::-1], rows).swapaxes(0, 1)

    return jax.tree.map(split, batch)


def _loss_and_gradient(
    loss: TrainingLoss, params: Any, batch_stats: Any, batch: Batch, key: jax.Array, step: jax.Array
) -> tuple[Metrics, Any, Any]:
    """The loss terms, new batch statistics and the gradient for one part of a batch."""
    gradient, (terms, batch_stats) = jax.grad(loss, has_aux=True)(params, batch_stats, batch, key, step)
    return terms, batch_stats, gradient


def _accumulate(
    loss: TrainingLoss, state: TrainState, batch: Batch, key: jax.Array, num_parts: int
) -> tuple[Metrics, Any, Any]:
    """The same for a batch in equal parts, one after another: mean terms and mean gradient."""
    if num_parts == 1:
        return _loss_and_gradient(loss, state.params, state.batch_stats, batch, key, state.step)
    parts = split_batch(batch, num_parts)

    def body(carry: tuple[Any, Any], part_and_index: tuple[Batch, jax.Array]) -> tuple[tuple[Any, Any], Metrics]:
        batch_stats, total = carry
        part, index = part_and_index
        terms, batch_stats, gradient = _loss_and_gradient(
            loss, state.params, batch_stats, part, jax.random.fold_in(key, index), state.step
        )
        return (batch_stats, jax.tree.map(jnp.add, total, gradient)), terms

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (batch_stats, total), terms = jax.lax.scan(body, (state.batch_stats, zeros), (parts, jnp.arange(num_parts)))
    return jax.tree.map(jnp.mean, terms), batch_stats, jax.tree.map(lambda x: x / num_parts, total)


def make_train_step(
    loss: TrainingLoss,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    ema_decay: float = 0.0,
    num_parts: int = 1,
) -> StepFunction:
    """Makes the step; compile it with `compile_train_step`.

    Args:
      loss: The loss, with the model.
      optimizer: The gradient transformation; one with extra arguments gets the gradient's global norm as ``norm`` and
        the schedule's rate as ``learning_rate``.
      schedule: Learning rate by step; skipped steps count.
      ema_decay: Decay of the moving average, if the state has one.
      num_parts: Number of equal parts in which the batch is computed, one after another (gradient accumulation).

    Returns:
      A function (state, batch) -> (state, metrics). Metrics are () float32: the objective's terms,
      ``gradient_norm``, ``learning_rate`` and ``skipped`` (the number of skipped steps in a row).
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        terms, batch_stats, gradient = _accumulate(loss, state, batch, key, num_parts)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(norm) & jnp.isfinite(terms["loss"])

        # Computed outside the branch that uses them: on CPU, XLA would otherwise compile this arithmetic, with the
        # schedule's cosine, into the loop over every parameter.
        learning_rate = jnp.asarray(schedule(state.step), jnp.float32)
        # The average moves faster at first; otherwise the random start would stay in it for 1 / (1 - decay) steps.
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))

        def apply(kept: _Changing, gradient: Any, batch_stats: Any) -> tuple[_Changing, jax.Array]:
            params, _, opt_state = kept
            updates, opt_state = optimizer.update(gradient, opt_state, params, norm=norm, learning_rate=learning_rate)
            return (optax.apply_updates(params, updates), batch_stats, opt_state), 1.0 - decay

        def skip(kept: _Changing, *_: Any) -> tuple[_Changing, jax.Array]:
            return kept, jnp.zeros_like(decay)

        # A branch rather than a selection between old and new values, which would keep a copy of the whole state.
        kept = (state.params, state.batch_stats, state.opt_state)
        (params, batch_stats, opt_state), follow = jax.lax.cond(finite, apply, skip, kept, gradient, batch_stats)
        ema = None if state.ema is None else _moved_average(params, state.ema, follow, loss.multipliers)
        skipped = jnp.where(finite, 0, state.skipped + 1)
        changed = {"params": params, "batch_stats": batch_stats, "opt_state": opt_state, "ema": ema}
        new_state = dataclasses.replace(state, step=state.step + 1, skipped=skipped, **changed)
        counters = {"gradient_norm": norm, "learning_rate": learning_rate, "skipped": skipped.astype(jnp.float32)}
        return new_state, terms | counters

    return train_step


def _moved_average(params: Any, average: Any, follow: jax.Array, multipliers: Multipliers) -> Any:
    """The average moved towards the parameters; that of a frozen one is the parameter itself, without rounding."""
    moved = optax.incremental_update(params, average, follow)
    if not multipliers:
        return moved
    return map_factors(lambda factor, new, given: new if factor else given, params, multipliers, moved, params)


def compile_train_step(step: StepFunction, shardings: TrainState, mesh: Mesh, saved: str = "") -> SynchronizedJit:
    """The jitted step: state sharded and donated, batch over the mesh's batch axes, metrics replicated.

    `saved` is the file of a step that was compiled ahead, which is loaded instead of compiling.
    """

    def spread_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        with clip_sharding(batch_sharding(mesh)):
            return step(state, batch)

    compiled = jax.jit(
        with_mesh(mesh, spread_step),
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
        compiler_options=compiler_options(mesh),
    )
    if not saved:
        return SynchronizedJit(compiled, "train_step")
    load = functools.partial(load_program, saved, devices=list(mesh.devices.flat))
    return SynchronizedJit(compiled, "train_step", load)


def compiler_options(mesh: Mesh) -> dict[str, str] | None:
    """Combines the gradients that pass between TPU slices.

    By default each passes on its own. That takes more synchronisation flags than a chip has, and the compiler rejects
    the step (libtpu of jax 0.10.2, two slices of v5e:8x8).
    """
    devices = mesh.devices.flat
    if devices[0].platform != "tpu" or count_slices(devices) == 1:
        return None
    return {"xla_tpu_dcn_all_reduce_combiner_threshold_bytes": str(100 * 10**6)}
