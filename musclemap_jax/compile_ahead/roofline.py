"""How long a training step takes at least, and where it stops scaling, from the cost of one compiled step.

A roofline (Williams et al., 2009): arithmetic, memory traffic and communication each take what they would take alone at
the machine's peak. If they overlap entirely a step takes the longest of the three, if not at all their sum; a real step
is slower than the first, and kernels below their peak make it slower than both. What a chip computes and moves per clip
is taken from the compiled step, and does not depend on the number of chips; what it does per step whatever the batch
(the optimizer) follows the size of its part of the state.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from musclemap_jax.cost.machines import Machine

CLIPS_PER_CORE = 103.0
"""Clips per second that one core prepares, with skeletons and all augmentation (benchmarks/README.md)."""

SAVE_BANDWIDTH = 0.2e9
"""Bytes per second that one process writes to a bucket; assumed, and a flag of the command."""

_GRADIENT_PASSES = 4
"""A gradient is written, and read for its norm and by both moments."""

_POSITIVE = ("parameter_bytes", "batch_size", "num_chips", "flops", "bytes_accessed")
_NOT_NEGATIVE = ("optimizer_bytes", "ema_bytes")
"""What is read from a report."""


@dataclasses.dataclass(frozen=True)
class StepCost:
    """The cost of a compiled step for one chip that holds the whole state.

    Attributes:
      clips: Clips of the chip.
      flops: Floating point operations.
      bytes_moved: Bytes read from and written to HBM.
      parameter_bytes: Size of the parameters.
      state_bytes: Size of parameters, optimizer state and moving average.
    """

    clips: float
    flops: float
    bytes_moved: float
    parameter_bytes: float
    state_bytes: float

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> StepCost:
        """From the JSON of `compile_ahead --out`; its mesh must not shard the parameters (fsdp and tensor are 1).

        Raises:
          ValueError: A value is no number that a step can have.
          KeyError: A value is absent.
        """
        for name in (*_POSITIVE, *_NOT_NEGATIVE):
            value = report[name]
            valid = type(value) in (int, float) and 0 <= value < math.inf
            if not valid or (name in _POSITIVE and value == 0):
                raise ValueError(f"{name}: expected a positive number, got {value!r}")
        parameters = report["parameter_bytes"]
        state = parameters + report["optimizer_bytes"] + report["ema_bytes"]
        clips = report["batch_size"] / report["num_chips"]
        return cls(clips, report["flops"], report["bytes_accessed"], parameters, state)

    @property
    def update_bytes(self) -> float:
        """Bytes that the optimizer moves: state read and written, gradients."""
        return min(2 * self.state_bytes + _GRADIENT_PASSES * self.parameter_bytes, self.bytes_moved)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A step on a number of chips; times in seconds.

    Attributes:
      num_chips: Chips.
      fsdp: Chips that share one copy of the state.
      batch_size: Clips per step over all chips.
      compute_s: Arithmetic at the peak.
      memory_s: Memory traffic at the peak.
      network_s: Communication at the peak.
      input_need: Fraction of a host's cores that preparing the clips takes, if the step takes `best_s`.
      save_s: Time to write a checkpoint, in the background.
    """

    num_chips: int
    fsdp: int
    batch_size: int
    compute_s: float
    memory_s: float
    network_s: float
    input_need: float
    save_s: float

    @property
    def best_s(self) -> float:
        """The step if everything overlaps."""
        return max(self.compute_s, self.memory_s, self.network_s)

    @property
    def worst_s(self) -> float:
        """The step if nothing overlaps."""
        return self.compute_s + self.memory_s + self.network_s

    @property
    def efficiency(self) -> float:
        """Throughput of a chip over that of one alone with the same clips, if nothing overlaps."""
        return 1 - self.network_s / self.worst_s

    @property
    def bound(self) -> str:
        """What a step spends most of its time on."""
        times = {"arithmetic": self.compute_s, "memory": self.memory_s, "network": self.network_s}
        return "input" if self.input_need > 1 else max(times, key=lambda name: times[name])


def estimate(
    cost: StepCost,
    machine: Machine,
    num_chips: int,
    clips: float,
    fsdp: int = 1,
    clips_per_core: float = CLIPS_PER_CORE,
    save_bandwidth: float = SAVE_BANDWIDTH,
) -> Estimate:
    """Estimates a step with `clips` clips per chip; `fsdp` chips share one copy of the state, num_chips a multiple."""
    scale = clips / cost.clips
    compute_s = cost.flops * scale / machine.peak_flops
    moved = (cost.bytes_moved - cost.update_bytes) * scale + cost.update_bytes / fsdp
    memory_s, network_s = moved / machine.hbm_bandwidth, _network_s(cost.parameter_bytes, machine, num_chips, fsdp)
    chips_per_host = min(machine.chips_per_host, num_chips)
    needed = clips * chips_per_host / max(compute_s, memory_s, network_s)
    writers = max(min(fsdp, num_chips) // chips_per_host, 1)
    return Estimate(
        num_chips=num_chips,
        fsdp=fsdp,
        batch_size=round(clips * num_chips),
        compute_s=compute_s,
        memory_s=memory_s,
        network_s=network_s,
        input_need=needed / (clips_per_core * machine.host_cores),
        save_s=cost.state_bytes / writers / save_bandwidth,
    )


def _network_s(parameter_bytes: float, machine: Machine, num_chips: int, fsdp: int) -> float:
    """Seconds of the ring algorithms: gradients summed over copies, parameters gathered twice where they are sharded.

    Several domains (slices, nodes) sum their gradients in three stages: scattered within each, summed between them over
    every chip's part, gathered within each.
    """
    inside = min(num_chips, machine.domain)
    domains = -(-num_chips // machine.domain)
    copies = max(inside // fsdp, 1)
    # Forward and backward gather the parameters; the gradient is scattered.
    sent = 3 * parameter_bytes * (fsdp - 1) / fsdp
    sent += 2 * parameter_bytes / fsdp * (copies - 1) / copies
    between = 2 * parameter_bytes / inside * (domains - 1) / domains
    return sent / machine.send_bandwidth + between / machine.outer_bandwidth
