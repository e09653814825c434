"""Compiles the training step for a TPU topology, without the TPUs, and reports its cost there.

    python -m musclemap_jax.compile_ahead --config=configs/transm3e.py --topology=v5e:16x16 --batch=1024

Needs the extra `tpu` (libtpu), on any machine. Reports whether the step fits into a chip's memory and its FLOPs, memory
traffic and communication. Nothing is run, so speed is not reported. Invalid input ends with one line on stderr and exit
status 2; a step that does not fit ends with one sentence and status 1.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Sequence

from absl import app, flags
from etils import epath

from musclemap_jax.compile_ahead.largest_batch import find_largest
from musclemap_jax.compile_ahead.report_table import operations_table, report_table
from musclemap_jax.compile_ahead.step_report import OutOfMemoryError, StepReport, compile_step
from musclemap_jax.compile_ahead.topology import CHIP_KINDS, Topology, describe_topology
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.experiment import command_line
from musclemap_jax.experiment.command_line import CONFIG, config_name, parse_flags
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.runtime.process_exit import run_and_exit
from musclemap_jax.runtime.saved_program import identity_of, save_program
from musclemap_jax.sharding.mesh import batch_ways, make_mesh
from musclemap_jax.storage.files import is_remote, replace_text

_print = functools.partial(print, flush=True)

DOES_NOT_FIT_STATUS = 1
COMPILER_OPTIONS = {"exec_time_optimization_effort": -1.0}
"""The compiler spends less effort on speed: a quarter of the compile time, similar memory and traffic."""

flags.adopt_module_key_flags(command_line)
_TOPOLOGY = flags.DEFINE_string(
    "topology", None, f"Chip kind and chips of one slice, such as v5e:16x16; kinds: {', '.join(CHIP_KINDS)}."
)
_NUM_SLICES = flags.DEFINE_integer("num_slices", 1, "Number of slices, connected by the data centre's network.")
_BATCH = flags.DEFINE_integer("batch", None, "Clips per step over all chips, instead of config.train.batch_size.")
_LARGEST = flags.DEFINE_bool("largest_batch", False, "Search for the largest batch that fits; compiles several times.")
_TOP_OPS = flags.DEFINE_integer("top_ops", 0, "Also list so many operations that move most bytes.", lower_bound=0)
_SAVE = flags.DEFINE_string(
    "save", None, "Also write the compiled step to this file, for `musclemap_jax.main --compiled_step`."
)
_OUT = flags.DEFINE_string("out", None, "Also write the report to this JSON file.")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the command compiles and shows.

    Attributes:
      batch_size: Clips over all chips; None searches for the largest number that fits.
      out: JSON file of the report, if any.
      save: File of the compiled step, if any; it is then compiled with all of the compiler's effort.
      top_ops: Number of operations that are listed.
    """

    batch_size: int | None = None
    out: str | None = None
    save: str | None = None
    top_ops: int = 0


def run(spec: ExperimentSpec, title: str, topology: Topology, wanted: Wanted) -> int:
    """Compiles, prints the tables and writes the files; returns the exit status, 1 if the step does not fit.

    `title` is the configuration's.

    Raises:
      UserError: The mesh does not divide the chips, or the batch.
    """
    mesh = make_mesh(spec.mesh.sizes(), topology.devices)
    options = {} if wanted.save else COMPILER_OPTIONS
    compile_batch = functools.partial(compile_step, spec, mesh, options=options)
    ways = batch_ways(mesh) * spec.train.grad_accum_steps
    try:
        step = compile_batch(wanted.batch_size) if wanted.batch_size else find_largest(compile_batch, ways, _print)
    except OutOfMemoryError as error:
        _print(_does_not_fit(error, title, topology, wanted.batch_size or ways))
        return DOES_NOT_FIT_STATUS
    _print(report_table(step.report, title, topology))
    if wanted.top_ops:
        _print(operations_table(step.operations(), wanted.top_ops))
    if wanted.save:
        size = save_program(step.compiled, identity_of(step.lowered, topology.devices), wanted.save)
        _print(f"saved: {wanted.save}, {size / 2**20:.1f} MiB")
    if wanted.out:
        replace_text(wanted.out, json.dumps(as_json(step.report, title, topology), indent=2) + "\n")
    return 0


def as_json(report: StepReport, title: str, topology: Topology) -> dict[str, object]:
    """The report as JSON, with configuration and topology."""
    head = {"config": title, "topology": topology.name, "num_slices": topology.num_slices}
    return head | {"hbm_bytes": topology.chip.hbm_bytes} | dataclasses.asdict(report)


def _does_not_fit(error: OutOfMemoryError, title: str, topology: Topology, batch_size: int) -> str:
    needs = (
        f"needs {error.needed_bytes / 2**30:.2f} GiB of the {error.usable_bytes / 2**30:.2f} GiB that a program may use"
        if error.usable_bytes
        else f"runs out of memory ('{str(error)[:400]}')"
    )
    return (
        f"{title} does not fit: with {batch_size} clips over {len(topology.devices)} chips the step {needs} on a "
        f"{topology.chip.name} chip: lower --batch (--largest_batch finds the largest), raise "
        "--config.train.grad_accum_steps or set --config.model.remat=blocks"
    )


def _check_saved(spec: ExperimentSpec) -> None:
    """Refuses to save a program that depends on what only a run knows."""
    if not spec.train.num_steps:
        raise UserError("--save: the schedule is part of the program: set --config.train.num_steps")
    if spec.loss.balance != "none":
        raise UserError(
            f"--save: the weights of config.loss.balance={spec.loss.balance} are counted in the training data and part "
            "of the program: set it to none, or let the run compile its step"
        )


def _make_folder_of(flag: str, path: str) -> None:
    """Makes sure, before minutes of compilation, that a file can be written."""
    file = epath.Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        is_folder = file.is_dir()
    except OSError as error:
        raise UserError(
            f"--{flag}={path}: cannot be written: {error.strerror or error}: choose another file"
        ) from error
    if is_folder or not (is_remote(path) or os.access(file.parent, os.W_OK)):
        raise UserError(f"--{flag}={path}: cannot be written: expected a file in a folder of yours")


def main(argv: Sequence[str]) -> int:
    """The command, once its flags are parsed."""
    del argv

    def body() -> int:
        if CONFIG.value is None or not _TOPOLOGY.value:
            example = "--config=configs/transm3e.py --topology=v5e:16x16"
            raise UserError(f"flags --config and --topology are needed: {example}")
        title = config_name()
        if _LARGEST.value and _BATCH.value is not None:
            raise UserError("--batch and --largest_batch exclude each other: pass one of them")
        if _BATCH.value is not None and _BATCH.value < 1:
            raise UserError(f"--batch={_BATCH.value}: expected at least 1")
        spec = resolve(CONFIG.value)
        if _SAVE.value:
            _check_saved(spec)
        for flag, path in (("out", _OUT.value), ("save", _SAVE.value)):
            if path:
                _make_folder_of(flag, path)
        topology = describe_topology(_TOPOLOGY.value, _NUM_SLICES.value)
        batch_size = None if _LARGEST.value else _BATCH.value or spec.train.batch_size
        return run(spec, title, topology, Wanted(batch_size, _OUT.value, _SAVE.value, _TOP_OPS.value))

    return exit_on_user_error(body)


if __name__ == "__main__":
    app.run(lambda argv: run_and_exit(lambda: main(argv)), flags_parser=parse_flags)
