"""The training state: everything that a training step changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax.sharding import Mesh

from musclemap_jax.runtime.gc_control import gc_paused
from musclemap_jax.sharding.rules import state_sharding


@struct.dataclass
class TrainState:
    """The training state.

    Attributes:
      step: () int32, number of steps taken, including skipped ones.
      params: Parameters, float32.
      batch_stats: Running statistics of the batch norms, float32; {} if there are none.
      opt_state: State of the optimizer.
      ema: Moving average of the parameters, or None.
      skipped: () int32, number of steps in a row that were skipped because of a non-finite loss or gradient.
      seed: () uint32; a step's randomness is drawn from it and the step's number.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    ema: Any
    skipped: jax.Array
    seed: jax.Array

    @property
    def eval_variables(self) -> dict[str, Any]:
        """Variables for evaluation: the moving average if there is one, else the parameters."""
        return {"params": self.params if self.ema is None else self.ema, "batch_stats": self.batch_stats}


def abstract_state(
    model: nn.Module, optimizer: optax.GradientTransformation, example: dict[str, Any], seed: int, mesh: Mesh, ema: bool
) -> tuple[Callable[[], TrainState], TrainState, TrainState]:
    """The state's shapes and shardings, without making an array.

    Args:
      model: The model, called as ``model(batch, train)``; its ``sharding_rules`` place its parameters.
      example: A batch, or ShapeDtypeStructs of one; only shapes and dtypes count.
      seed: Seed of the initial parameters and of the run's randomness.
      ema: Whether a moving average is kept.

    Returns:
      A function that makes the state, the tree of its ShapeDtypeStructs, and the tree of its shardings.
    """
    shapes = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in example.items()}

    def initialise() -> TrainState:
        batch = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
        variables = model.init({"params": jax.random.key(seed)}, batch, train=False, distil=True)
        params = variables["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(params),
            ema=jax.tree.map(jnp.copy, params) if ema else None,
            skipped=jnp.zeros((), jnp.int32),
            seed=jnp.asarray(seed, jnp.uint32),
        )

    with gc_paused():
        abstract = jax.eval_shape(initialise)
    return initialise, abstract, state_sharding(abstract, mesh, model.sharding_rules)


def create_state(
    model: nn.Module, optimizer: optax.GradientTransformation, example: dict[str, Any], seed: int, mesh: Mesh, ema: bool
) -> tuple[TrainState, TrainState]:
    """Initialises the state directly in its sharding, so that no device holds more than its part.

    The arguments are those of `abstract_state`; also returns the tree of the state's shardings.
    """
    initialise, _, shardings = abstract_state(model, optimizer, example, seed, mesh, ema)
    # Hundreds of small random draws that run once: on CPU, LLVM's optimisations cost far more than they gain.
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    with gc_paused():
        return jax.jit(initialise, out_shardings=shardings, compiler_options=options)(), shardings
