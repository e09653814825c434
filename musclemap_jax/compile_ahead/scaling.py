"""Prints a roofline model of the training step on many chips, from the report of one compilation.

    python -m musclemap_jax.compile_ahead --config=configs/transm3e.py --topology=v5e:2x2 --batch=16 --out=step.json
    python -m musclemap_jax.compile_ahead.scaling --report=step.json --machine=v5e --chips=16,32,64,128,256

Nothing is run or compiled. docs/scaling.md says what the model knows and what it does not.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence

from absl import app, flags

from musclemap_jax.compile_ahead.roofline import CLIPS_PER_CORE, SAVE_BANDWIDTH, Estimate, StepCost, estimate
from musclemap_jax.cost.machines import MACHINES, Machine
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.experiment.command_line import parse_flags

_REPORT = flags.DEFINE_string("report", None, "JSON of `musclemap_jax.compile_ahead --out`, with mesh.fsdp=1.")
_MACHINE = flags.DEFINE_enum("machine", "v5e", sorted(MACHINES), "The kind of accelerator.")
_CHIPS = flags.DEFINE_list("chips", ["16", "32", "64", "128", "256"], "Numbers of chips.")
_FSDP = flags.DEFINE_list("fsdp", ["1"], "Chips that share one copy of the state.")
_CLIPS = flags.DEFINE_float("clips_per_chip", None, "Clips of a chip; by default those of the report.")
_NUM_CLIPS = flags.DEFINE_integer("num_clips", 15_004, "Clips of an epoch.", lower_bound=1)
_EPOCHS = flags.DEFINE_float("epochs", 50.0, "Length of the run.")
_START_S = flags.DEFINE_float("start_s", 240.0, "Seconds until the first step: connecting, compiling.")
_CLIPS_PER_CORE = flags.DEFINE_float("clips_per_core", CLIPS_PER_CORE, "Clips a second that a core prepares.")
_SAVE_BANDWIDTH = flags.DEFINE_float(
    "save_gb_per_s", SAVE_BANDWIDTH / 1e9, "GB a second that one process writes to the workdir."
)

HEAD = (
    "chips fsdp  batch | arithmetic    memory    network | step from        to   bound by |  clips/s efficiency "
    "| input's cores checkpoint |        run start-up"
)


def read_cost(path: str) -> StepCost:
    """The cost of a step from a report.

    Raises:
      UserError: It cannot be read, or is of a mesh that shards the parameters.
    """
    try:
        report = json.loads(pathlib.Path(path).read_text())
        sharded = [axis for axis in ("fsdp", "tensor") if report["mesh"][axis] != 1]
        cost = StepCost.from_report(report)
    except OSError as error:
        raise UserError(f"--report={path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--report={path}: not a report of compile_ahead --out: {error}") from error
    if sharded:
        raise UserError(f"--report={path}: expected mesh.{sharded[0]}=1: compile the step without it")
    return cost


@dataclasses.dataclass(frozen=True)
class RunLength:
    """How much a run computes: the clips of all its epochs, and the seconds until its first step."""

    num_clips: float
    start_s: float


def scaling_table(estimates: Sequence[Estimate], machine: Machine, run: RunLength) -> str:
    """A line for each estimate; clips per second and the run are at best, the efficiency is at worst."""
    lines = [HEAD]
    for row in estimates:
        rate = row.batch_size / row.best_s
        run_s = run.start_s + run.num_clips / rate
        parts = (
            f"{row.num_chips:>5} {row.fsdp:>4} {row.batch_size:>6}",
            f"{_ms(row.compute_s)} {_ms(row.memory_s)} {_ms(row.network_s)}",
            f"{_ms(row.best_s)} {_ms(row.worst_s)} {row.bound:>10}",
            f"{rate:>8,.0f} {row.efficiency:>10.0%}",
            f"{row.input_need:>8.1%} of {machine.host_cores:>3} {row.save_s:>8.1f} s",
            f"{run_s / 60:>6.1f} min {run.start_s / run_s:>8.0%}",
        )
        lines.append(" | ".join(parts))
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:>7.1f} ms"


def _positive(flag: flags.FlagHolder[list[str]]) -> list[int]:
    try:
        numbers = [int(text) for text in flag.value]
    except ValueError as error:
        raise UserError(f"--{flag.name}={','.join(flag.value)}: expected whole numbers separated by commas") from error
    if not numbers or min(numbers) < 1:
        raise UserError(f"--{flag.name}={','.join(flag.value)}: expected numbers of at least 1")
    return numbers


def _check_finite(*holders: flags.FlagHolder[float | None]) -> None:
    """Refuses NaN, infinities and, but for --start_s, 0 and less."""
    for flag in holders:
        value = flag.value
        if value is not None and not (0 < value < math.inf or (value == 0 and flag is _START_S)):
            raise UserError(f"--{flag.name}={value:g}: expected a positive number")


def main(argv: Sequence[str]) -> int:
    """The command, once its flags are parsed."""
    del argv

    def body() -> int:
        if not _REPORT.value:
            raise UserError(
                "flag --report is needed: the file of python -m musclemap_jax.compile_ahead --out=step.json"
            )
        _check_finite(_CLIPS, _EPOCHS, _START_S, _CLIPS_PER_CORE, _SAVE_BANDWIDTH)
        machine, cost = MACHINES[_MACHINE.value], read_cost(_REPORT.value)
        chips, fsdp = _positive(_CHIPS), _positive(_FSDP)
        pairs = [(n, f) for f in fsdp for n in chips if n % f == 0 and f <= min(n, machine.domain)]
        if not pairs:
            raise UserError(f"--fsdp={','.join(map(str, fsdp))}: divides none of --chips={','.join(map(str, chips))}")
        clips = _CLIPS.value or cost.clips
        if clips * min(chips) < 1:
            raise UserError(f"--clips_per_chip={clips:g}: less than one clip over {min(chips)} chips: pass more")
        rates = _CLIPS_PER_CORE.value, _SAVE_BANDWIDTH.value * 1e9
        rows = [estimate(cost, machine, n, clips, f, *rates) for n, f in pairs]
        print(f"{_REPORT.value} on {machine.name}, {clips:g} clips a chip, state {cost.state_bytes / 2**30:.2f} GiB")
        print(scaling_table(rows, machine, RunLength(_NUM_CLIPS.value * _EPOCHS.value, _START_S.value)))
        return 0

    return exit_on_user_error(body)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
