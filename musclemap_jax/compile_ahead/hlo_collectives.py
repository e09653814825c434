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

BYTES = {"pred": 1, "bf16": 2, "c64": 8, "c128": 16} | {
    f"{kind}{bits}": max(bits // 8, 1) for kind in "sufc" for bits in (2, 4, 8, 16, 32, 64)
}
"""Bytes per element by HLO type; eight-bit floats (``f8e4m3`` and the like) have one byte."""

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (?P<type>\(.*?\)|\S+) (?P<op>[a-z][a-z\-]*)\((?P<rest>.*)$")
_CALLED = re.compile(r"(?:body|calls|to_apply|called_computations=\{)=?%?([\w.\-]+)|branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"?known_trip_count"?:\{"?n"?:"?(\d+)')
_ARRAY = re.compile(r"([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,<=]*)\]")
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


@dataclasses.dataclass
class _Computation:
    own: Totals = dataclasses.field(default_factory=lambda: collections.defaultdict(CollectiveTotal))
    calls: list[tuple[str, int]] = dataclasses.field(default_factory=list)


def array_bytes(text: str) -> int:
    """Bytes of an HLO type, such as ``f32[4,8]{1,0}`` or ``(bf16[16], u32[])``, without the padding of layouts."""
    total = 0
    for kind, sizes in _ARRAY.findall(text):
        size = 1 if kind.startswith("f8") else BYTES.get(kind, 0)
        total += size * math.prod(int(part.lstrip("<=")) for part in sizes.split(",") if part)
    return total


def collectives(hlo: str, num_chips: int) -> Totals:
    """Totals of the kinds that occur in a compiled module's text (`jax.stages.Compiled.as_text`).

    In a collective without replica groups all `num_chips` chips take part.
    """
    computations, entry = _read(hlo, num_chips)

    @functools.cache
    def totals(name: str) -> tuple[tuple[str, CollectiveTotal], ...]:
        computation = computations.get(name, _Computation())
        result = dict(computation.own)
        for called, times in computation.calls:
            for kind, total in totals(called):
                result[kind] = result.get(kind, CollectiveTotal()).plus(total, times)
        return tuple(result.items())

    found = dict(totals(entry))
    return {kind: found[kind] for kind in KINDS if kind in found}


def _read(hlo: str, num_chips: int) -> tuple[dict[str, _Computation], str]:
    """The computations by name, and the name of the entry computation."""
    computations, entry = {}, ""
    current = _Computation()
    for line in hlo.splitlines():
        if header := _COMPUTATION.match(line):
            current = computations.setdefault(header[2], _Computation())
            entry = header[2] if header[1] else entry
        elif instruction := _INSTRUCTION.match(line):
            _add(current, instruction, num_chips)
    return computations, entry


def _add(computation: _Computation, instruction: re.Match[str], num_chips: int) -> None:
    op, rest = instruction["op"], instruction["rest"]
    kind = op.removesuffix("-start")
    if kind in KINDS:
        size = array_bytes(instruction["type"])
        if op != kind and kind != "all-reduce":
            size = _result_bytes(instruction["type"])
        total = CollectiveTotal(1, size * _sent_fraction(kind, _group_size(rest, num_chips)))
        computation.own[kind] = computation.own[kind].plus(total)
        return  # the computation that an all-reduce calls is its addition
    trips = _TRIPS.search(rest)
    times = int(trips[1]) if op == "while" and trips else 1
    for one, several in _CALLED.findall(rest):
        names = [one] if one else [name.strip().lstrip("%") for name in several.split(",")]
        computation.calls += [(name, times) for name in names]


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
