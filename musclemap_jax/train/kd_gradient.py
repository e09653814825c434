"""How much of the gradient is distillation's: a diagnostic beside the training step, compiled only if asked for.

A weight says little, since the terms differ in size by orders of magnitude; the gradient is what a branch learns from.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.runtime.barrier import SynchronizedJit
from musclemap_jax.sharding.activation_sharding import clip_sharding
from musclemap_jax.sharding.context import with_mesh
from musclemap_jax.sharding.mesh import batch_sharding, replicated
from musclemap_jax.train.step import compiler_options, split_batch
from musclemap_jax.train.training_loss import Batch, Metrics, TrainingLoss

KdGradient = Callable[[TrainState, Batch], Metrics]


def make_kd_gradient(loss: TrainingLoss, branches: tuple[str, ...], num_parts: int = 1) -> KdGradient:
    """Makes the function (state, batch) -> norms of distillation's gradient relative to the whole gradient.

    Args:
      loss: The loss of the run.
      branches: Names of the model's branches.
      num_parts: As in `make_train_step`; only the batch's first part is looked at, which is what fits in memory.

    Returns:
      The function; compile it with `compile_kd_gradient`. Its metrics are () float32: ``kd_gradient_fraction``, over
      all parameters, and ``kd_gradient_fraction_<branch>``, over those of a branch without its head and fusion; 0 where
      the whole gradient is 0.
    """

    def kd_gradient(state: TrainState, batch: Batch) -> Metrics:
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        part = jax.tree.map(lambda x: x[0], split_batch(batch, num_parts))

        def whole_and_kd(params: optax.Params) -> tuple[jax.Array, jax.Array]:
            total, (terms, _) = loss(params, state.batch_stats, part, key, state.step)
            return total, terms.get("loss_kd", jnp.zeros_like(total))

        _, pull_back = jax.vjp(whole_and_kd, state.params)
        one, zero = jnp.float32(1), jnp.float32(0)
        (whole,), (kd,) = pull_back((one, zero)), pull_back((zero, one))
        fractions = {"kd_gradient_fraction": _fraction(kd, whole)}
        for name in branches:
            fractions[f"kd_gradient_fraction_{name}"] = _fraction(kd[name], whole[name])
        return fractions

    return kd_gradient


def _fraction(part: optax.Params, whole: optax.Params) -> jax.Array:
    norm = optax.tree.norm(whole)
    return jnp.where(norm > 0, optax.tree.norm(part) / jnp.where(norm > 0, norm, 1.0), 0.0)


def compile_kd_gradient(function: KdGradient, shardings: TrainState, mesh: Mesh) -> SynchronizedJit:
    """The jitted function; state and batch are sharded as in the training step, and not donated."""

    def spread(state: TrainState, batch: Batch) -> Metrics:
        with clip_sharding(batch_sharding(mesh)):
            return function(state, batch)

    compiled = jax.jit(
        with_mesh(mesh, spread),
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=replicated(mesh),
        compiler_options=compiler_options(mesh),
    )
    return SynchronizedJit(compiled, "kd_gradient")
