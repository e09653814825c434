"""Cost of a configuration's training step on a mesh, found by compiling it: memory, FLOPs, traffic.

Step, state and shardings are those of training. No array is made, so the mesh may be of devices that are not present.
FLOPs and bytes are the compiler's estimates for one chip.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import time
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from musclemap_jax.checkpoints.state import TrainState, abstract_state
from musclemap_jax.compile_ahead.hlo_collectives import CollectiveTotal, collectives
from musclemap_jax.compile_ahead.hlo_traffic import OpTraffic, traffic
from musclemap_jax.cost.flops import training_flops
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.program import TrainProgram, batch_shapes, make_program
from musclemap_jax.runtime.device_memory import is_out_of_memory
from musclemap_jax.sharding.mesh import batch_sharding, batch_ways, check_batch_size
from musclemap_jax.sharding.rules import bytes_per_device
from musclemap_jax.train.objective import objective
from musclemap_jax.train.step import compile_train_step

_OUT_OF_MEMORY = re.compile(r"Used ([\d.]+[KMGT]) of ([\d.]+[KMGT]) hbm", re.IGNORECASE)
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class OutOfMemoryError(RuntimeError):
    """The step does not fit into a chip's memory.

    Attributes:
      needed_bytes: Bytes that the step needs; 0 if the compiler did not say.
      usable_bytes: Bytes that a program may use; likewise.
    """

    def __init__(self, message: str) -> None:
        numbers = _OUT_OF_MEMORY.search(message)
        sizes = numbers.groups() if numbers else ("0K", "0K")
        self.needed_bytes, self.usable_bytes = (int(float(text[:-1]) * _UNITS[text[-1].upper()]) for text in sizes)
        super().__init__(message)


@dataclasses.dataclass(frozen=True)
class StepReport:
    """Cost of one training step; bytes and FLOPs are per chip.

    Attributes:
      batch_size: Clips per step, over all chips.
      mesh: Size of each mesh axis.
      optimizer_bytes: Size of the optimizer's state.
      ema_bytes: Size of the parameters' moving average.
      activation_bytes: Size of the activations that JAX keeps for the backward pass, before the compiler
        rematerialises some of them; part of the temporaries.
      temporary_bytes: Everything that lives only within a step.
      total_bytes: State, batch and temporaries, with the padding of layouts, and the program.
      flops: FLOPs by the compiler's count of the compiled program.
      analytic_flops: FLOPs by the model's shapes, without recomputation.
      bytes_accessed: Bytes read and written, summed over the operations, by the compiler's count.
      kernel_bytes: Those of our own kernels, as each states them from its blocks.
      fast_bytes: Bytes that operations read from or write to fast memory (VMEM), where the compiler keeps some arrays
        from one operation to the next; part of bytes_accessed that is no traffic of HBM.
      collectives: Communication with other chips, by kind of collective.
      compile_s: Seconds that the compilation took on this machine.
    """

    batch_size: int
    num_chips: int
    mesh: dict[str, int]
    parameter_bytes: int
    optimizer_bytes: int
    ema_bytes: int
    batch_bytes: int
    activation_bytes: int
    temporary_bytes: int
    total_bytes: int
    flops: float
    analytic_flops: float
    bytes_accessed: float
    kernel_bytes: float
    fast_bytes: float
    collectives: dict[str, CollectiveTotal]
    compile_s: float


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A training step that was compiled for a mesh: its cost, what it was compiled from, and the program."""

    report: StepReport
    lowered: jax.stages.Lowered
    compiled: jax.stages.Compiled

    def operations(self) -> list[OpTraffic]:
        """What the program moves, operation by operation."""
        return traffic(self.compiled.as_text() or "")


def compile_step(
    spec: ExperimentSpec, mesh: Mesh, batch_size: int, options: Mapping[str, Any] | None = None
) -> CompiledStep:
    """Compiles the training step and reports its cost.

    The mesh's devices need not be present, `batch_size` counts clips over all chips, and `options` are the compiler's.

    Raises:
      UserError: The mesh, times ``grad_accum_steps``, does not divide the batch.
      OutOfMemoryError: The step does not fit.
    """
    check_batch_size("batch", batch_size, mesh, spec.train.grad_accum_steps)
    batch = batch_shapes(spec.input, batch_size)
    program = make_program(spec, spec.train.total_steps(batch_size))
    _, state, shardings = abstract_state(
        program.model, program.optimizer, batch, spec.seed, mesh, ema=spec.optimizer.ema_decay > 0
    )
    lowered = compile_train_step(program.step, shardings, mesh).lower(state, batch)
    started = time.perf_counter()
    try:
        compiled = lowered.compile(compiler_options=dict(options or {}))
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(" ".join(str(error).split())) from error
    compile_s = time.perf_counter() - started
    batch_shardings = jax.tree.map(lambda _: batch_sharding(mesh), batch)
    parts = batch_ways(mesh) * spec.train.grad_accum_steps
    report = StepReport(
        batch_size=batch_size,
        num_chips=mesh.size,
        mesh=dict(mesh.shape),
        parameter_bytes=bytes_per_device(state.params, shardings.params),
        optimizer_bytes=bytes_per_device(state.opt_state, shardings.opt_state),
        ema_bytes=bytes_per_device(state.ema, shardings.ema),
        batch_bytes=bytes_per_device(batch, batch_shardings),
        activation_bytes=_activation_bytes_of_a_clip(program, spec, state) * batch_size // parts,
        analytic_flops=training_flops(spec.model, spec.input) * batch_size / mesh.size,
        compile_s=compile_s,
        **_costs_of_program(compiled, mesh.size),
    )
    return CompiledStep(report, lowered, compiled)


def _costs_of_program(compiled: jax.stages.Compiled, num_chips: int) -> dict[str, Any]:
    """The fields of a report that the compiled program answers."""
    memory: Any = compiled.memory_analysis()
    cost: Any = compiled.cost_analysis()
    total_bytes = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    total_bytes += memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    hlo = compiled.as_text() or ""
    operations = traffic(hlo)
    return {
        "temporary_bytes": memory.temp_size_in_bytes,
        "total_bytes": total_bytes,
        "flops": cost["flops"],
        "bytes_accessed": cost["bytes accessed"],
        "kernel_bytes": sum(operation.bytes_moved for operation in operations if operation.is_custom),
        "fast_bytes": sum(operation.fast_bytes for operation in operations),
        "collectives": collectives(hlo, num_chips),
    }


def _activation_bytes_of_a_clip(program: TrainProgram, spec: ExperimentSpec, state: TrainState) -> int:
    """Bytes that JAX keeps of a clip's forward pass for the gradient: what a second clip adds to those of one."""

    def loss(params: Any, batch_stats: Any, batch: dict[str, jax.Array]) -> jax.Array:
        variables = {"params": params, "batch_stats": batch_stats}
        output, _ = program.model.apply(
            variables, batch, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)}
        )
        return objective(output, batch["muscles"], batch["clip_valid"], spec.loss)[0]

    def kept(params: Any, batch_stats: Any, batch: dict[str, jax.Array]) -> list[jax.Array]:
        _, gradient = jax.vjp(functools.partial(loss, batch_stats=batch_stats, batch=batch), params)
        return jax.tree.leaves(gradient)

    sizes = []
    for num_clips in (1, 2):
        leaves = jax.eval_shape(kept, state.params, state.batch_stats, batch_shapes(spec.input, num_clips))
        sizes.append(sum(leaf.size * leaf.dtype.itemsize for leaf in leaves))
    return sizes[1] - sizes[0]
