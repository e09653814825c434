"""Bytes that a compiled program moves between chips, by kind of collective, read from its HLO text.

A chip's sent bytes are those of the ring algorithm over n chips: (n - 1) / n of the array for a gather or a scatter,
twice that for an all-reduce. A collective in a loop counts once per iteration, if HLO states the trip count.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re

from musclemap_jax.compile_ahead.hlo_text import Instruction, array_bytes, read_module

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_GROUPS_LISTED = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_GROUPS_BY_AXES = re.compile(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}")
_GROUPS_COUNTED = re.compile(r"replica_groups=\[(\d+),(\d+)\]<=")


@dataclasses.dataclass(frozen=True)
class CollectiveTotal:
    """Number of collectives of one kind in one run of a program, and bytes that each chip sends."""

    count: int = 0
    bytes_sent: float = 0.0

    def plus(self, other: CollectiveTotal, times: int = 1) -> CollectiveTotal:
        """The sum of this and ``times`` the other."""
        return CollectiveTotal(self.count + times * other.count, self.bytes_sent + times * other.bytes_sent)


Totals = dict[str, CollectiveTotal]


def collectives(hlo: str, num_chips: int) -> Totals:
    """Totals of the kinds that occur in a compiled module's text (`jax.stages.Compiled.as_text`).

    In a collective without replica groups all `num_chips` chips take part.
    """
    module = read_module(hlo)

    @functools.cache
    def totals(name: str) -> tuple[tuple[str, CollectiveTotal], ...]:
        result: Totals = collections.defaultdict(CollectiveTotal)
        for instruction in module.computations.get(name, []):
            kind = instruction.op.removesuffix("-start")
            if kind in KINDS:  # the computation that an all-reduce calls is its addition
                result[kind] = result[kind].plus(_total(instruction, kind, num_chips))
                continue
            for called in instruction.called:
                for called_kind, total in totals(called):
                    result[called_kind] = result[called_kind].plus(total, instruction.trips)
        return tuple(result.items())

    found = dict(totals(module.entry))
    return {kind: found[kind] for kind in KINDS if kind in found}


def _total(instruction: Instruction, kind: str, num_chips: int) -> CollectiveTotal:
    asynchronous = instruction.op != kind and kind != "all-reduce"
    size = _result_bytes(instruction.type) if asynchronous else array_bytes(instruction.type)
    return CollectiveTotal(1, size * _sent_fraction(kind, _group_size(instruction.rest, num_chips)))


def _result_bytes(text: str) -> int:
    """Bytes of the result of an asynchronous start, whose type is (operand, result, ...)."""
    depth, elements, start = 0, [], 1
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if (letter == "," and depth == 1) or (letter == ")" and depth == 0):
            elements.append(text[start:place])
            start = place + 1
    return array_bytes(elements[1] if len(elements) > 1 else text)


def _group_size(rest: str, num_chips: int) -> int:
    if listed := _GROUPS_LISTED.search(rest):
        return len(listed[1].split(",")) if listed[1] else num_chips
    if by_axes := _GROUPS_BY_AXES.search(rest):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", by_axes[1])}
        # Part of an axis is written with the size before it and its own size: 'data':(2)4.
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", by_axes[2])
        return math.prod(int(part) if part else sizes[name] for name, part in parts)
    counted = _GROUPS_COUNTED.search(rest)
    return int(counted[2]) if counted else num_chips


def _sent_fraction(kind: str, size: int) -> float:
    """Bytes that a chip sends as a fraction of the result's bytes, in a group of ``size`` chips."""
    if kind == "collective-permute":
        return 1.0
    return {"all-reduce": 2 * (size - 1) / size, "reduce-scatter": size - 1.0}.get(kind, (size - 1) / size)
