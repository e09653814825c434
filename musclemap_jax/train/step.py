"""The training step: a pure function (state, batch) -> (state, metrics), to be compiled as one.

Randomness is drawn from the run's seed and the step's number. A step whose loss or gradient is not finite changes
nothing but the two counters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh

from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.runtime.barrier import SynchronizedJit
from musclemap_jax.sharding.activation_sharding import clip_sharding
from musclemap_jax.sharding.context import with_mesh
from musclemap_jax.sharding.mesh import batch_sharding, count_slices, replicated
from musclemap_jax.train.objective import ObjectiveSpec, objective

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class _Changing(NamedTuple):
    """What a step changes of a TrainState unless it is skipped."""

    params: Any
    batch_stats: Any
    opt_state: Any


def _loss_and_gradient(
    model: nn.Module, spec: ObjectiveSpec, params: Any, batch_stats: Any, batch: Batch, key: jax.Array
) -> tuple[Metrics, Any, Any]:
    """Terms of the loss, new batch statistics and the gradient, for one part of a batch."""

    def loss_function(params: Any) -> tuple[jax.Array, tuple[Metrics, Any]]:
        output, changed = model.apply(
            {"params": params, "batch_stats": batch_stats},
            batch,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        loss, terms = objective(output, batch["muscles"], batch["clip_valid"], spec)
        return loss, (terms, changed.get("batch_stats", {}))

    gradient, (terms, batch_stats) = jax.grad(loss_function, has_aux=True)(params)
    return terms, batch_stats, gradient


def _accumulate(
    model: nn.Module, spec: ObjectiveSpec, state: TrainState, batch: Batch, key: jax.Array, num_parts: int
) -> tuple[Metrics, Any, Any]:
    """The same over a batch taken in equal parts, one after another: means of terms and gradients."""
    if num_parts == 1:
        return _loss_and_gradient(model, spec, state.params, state.batch_stats, batch, key)
    # Clip i goes to part i % num_parts, so that each device's share of the batch gives to every part.
    parts = jax.tree.map(lambda x: x.reshape(-1, num_parts, *x.shape[1:]).swapaxes(0, 1), batch)

    def body(carry: tuple[Any, Any], part_and_index: tuple[Batch, jax.Array]) -> tuple[tuple[Any, Any], Metrics]:
        batch_stats, total = carry
        part, index = part_and_index
        terms, batch_stats, gradient = _loss_and_gradient(
            model, spec, state.params, batch_stats, part, jax.random.fold_in(key, index)
        )
        return (batch_stats, jax.tree.map(jnp.add, total, gradient)), terms

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (batch_stats, total), terms = jax.lax.scan(body, (state.batch_stats, zeros), (parts, jnp.arange(num_parts)))
    return jax.tree.map(jnp.mean, terms), batch_stats, jax.tree.map(lambda x: x / num_parts, total)


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    spec: ObjectiveSpec,
    ema_decay: float = 0.0,
    num_parts: int = 1,
) -> StepFunction:
    """Makes the step; compile it with `compile_train_step`.

    Args:
      model: called as ``model(batch, train)``, returns a ModelOutput.
      optimizer: the gradient transformation; one with extra arguments gets the gradient's global norm as ``norm`` and
        the schedule's rate as ``learning_rate``.
      schedule: learning rate by step, steps that were skipped included.
      spec: settings of the objective.
      ema_decay: decay of the moving average; used where the state has one.
      num_parts: gradient grad_accum_steps: the batch is taken in so many parts, one after another.

    Returns:
      A function (state, batch) -> (state, metrics). Metrics are () float32: the objective's terms,
      ``gradient_norm``, ``learning_rate`` and ``skipped`` (steps in a row that were not applied).
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        terms, batch_stats, gradient = _accumulate(model, spec, state, batch, key, num_parts)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(norm) & jnp.isfinite(terms["loss"])

        # Scalars are made on the other side of the branch from where each parameter uses them: on CPU their
        # arithmetic, the schedule's cosine too, would else be compiled into the loop over every parameter.
        learning_rate = jnp.asarray(schedule(state.step), jnp.float32)
        # The average follows faster at first, or the random start would stay in it for 1 / (1 - decay) steps.
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))

        def apply(kept: _Changing, gradient: Any, batch_stats: Any) -> tuple[_Changing, jax.Array]:
            updates, opt_state = optimizer.update(
                gradient, kept.opt_state, kept.params, norm=norm, learning_rate=learning_rate
            )
            return _Changing(optax.apply_updates(kept.params, updates), batch_stats, opt_state), 1.0 - decay

        def skip(kept: _Changing, *_: Any) -> tuple[_Changing, jax.Array]:
            return kept, jnp.zeros_like(decay)

        # A branch and not a selection between old and new: that would keep both, a copy of the whole state.
        kept = _Changing(state.params, state.batch_stats, state.opt_state)
        changed, follow = jax.lax.cond(finite, apply, skip, kept, gradient, batch_stats)
        ema = None if state.ema is None else optax.incremental_update(changed.params, state.ema, follow)
        skipped = jnp.where(finite, 0, state.skipped + 1)
        new_state = dataclasses.replace(state, step=state.step + 1, skipped=skipped, ema=ema, **changed._asdict())
        metrics = terms | {
            "gradient_norm": norm,
            "learning_rate": learning_rate,
            "skipped": skipped.astype(jnp.float32),
        }
        return new_state, metrics

    return train_step


def compile_train_step(step: StepFunction, shardings: TrainState, mesh: Mesh) -> SynchronizedJit:
    """The jitted step: state in its sharding and donated, batch over the mesh's batch axes, metrics on every device."""

    def spread_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        with clip_sharding(batch_sharding(mesh)):
            return step(state, batch)

    compiled = jax.jit(
        with_mesh(mesh, spread_step),
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
        compiler_options=_compiler_options(mesh),
    )
    return SynchronizedJit(compiled, "train_step")


def _compiler_options(mesh: Mesh) -> dict[str, str] | None:
    """Gradients pass between TPU slices together.

    One by one, as by default, they take more flags to wait on than a chip has, and the compiler refuses the step
    (libtpu of jax 0.10.2, two slices of v5e:8x8).
    """
    devices = mesh.devices.flat
    if devices[0].platform != "tpu" or count_slices(devices) == 1:
        return None
    return {"xla_tpu_dcn_all_reduce_combiner_threshold_bytes": str(100 * 10**6)}
