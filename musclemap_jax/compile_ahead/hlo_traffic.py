"""Bytes that each operation of a compiled program reads and writes, read from its HLO text.

Counted as by XLA's cost analysis: the operands and results of everything that runs; of an operand that a fusion only
slices, the slices; of an array that is updated in place, the update. A custom call counts what it states itself
(`CostEstimate` of a Pallas kernel). What a fusion keeps to itself costs nothing.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable

from musclemap_jax.compile_ahead.hlo_text import Instruction, Module, padded_bytes, read_module

FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "opt-barrier", "partition-id"}
"""Operations that move nothing."""

CALLS = {"while", "conditional", "call", "async-start"}
"""Operations that move what the computations that they call move."""

_SLICES = {"slice", "dynamic-slice", "gather"}
_STATED = re.compile(r'"bytes_accessed":\s*"?(\d+)')
_WRAPPER = re.compile(r"^(?:jit|jvp|transpose|vmap|shard_map|checkpoint|remat|custom_[jv]+p_call)\((.*)\)$")


@dataclasses.dataclass(frozen=True)
class OpTraffic:
    """An operation, and what it moves in one run of the program.

    Attributes:
      op: The HLO opcode, such as ``fusion``.
      source: JAX's name of the operation, without the wrappers of transformations; empty if there is none.
      backward: Whether it belongs to the backward pass.
      times: How often it runs.
      bytes_moved: Bytes read and written, in all of these runs.
      fast_bytes: Those of them that are in fast memory (VMEM) and not in HBM.
    """

    op: str
    source: str
    backward: bool
    times: int
    bytes_moved: float
    fast_bytes: float

    @property
    def is_custom(self) -> bool:
        """Whether it is a custom call, such as a Pallas kernel."""
        return self.op == "custom-call"


def traffic(hlo: str) -> list[OpTraffic]:
    """Every operation of a compiled module's text that moves bytes, the largest first."""
    module = read_module(hlo)
    found: list[OpTraffic] = []
    _collect(module, module.entry, 1, found)
    return sorted(found, key=lambda op: -op.bytes_moved)


@dataclasses.dataclass(frozen=True)
class SourceTraffic:
    """Operations from equal sources: their number, and the bytes that they move."""

    name: str
    op: str
    count: int
    bytes_moved: float
    fast_bytes: float


def by_source(operations: Iterable[OpTraffic]) -> list[SourceTraffic]:
    """Sums of the operations of the same source, pass and opcode, the largest first."""
    groups: dict[tuple[str, str], list[OpTraffic]] = collections.defaultdict(list)
    for operation in operations:
        name = f"{operation.source or '(no source)'}{' (backward)' if operation.backward else ''}"
        groups[name, operation.op].append(operation)
    sums = [
        SourceTraffic(
            name,
            op,
            sum(operation.times for operation in group),
            sum(operation.bytes_moved for operation in group),
            sum(operation.fast_bytes for operation in group),
        )
        for (name, op), group in groups.items()
    ]
    return sorted(sums, key=lambda group: -group.bytes_moved)


def _collect(module: Module, name: str, times: int, found: list[OpTraffic]) -> None:
    """Appends the operations of a computation that runs so many times."""
    instructions = module.computations.get(name, [])
    types = {instruction.name: instruction.type for instruction in instructions}
    for instruction in instructions:
        if instruction.op in FREE or instruction.op.endswith(("-done", "-update")):
            continue
        if instruction.op in CALLS:
            _collect_called(module, instruction, times, found)
            continue
        moved, fast = _moved(module, instruction, types)
        if moved:
            source = instruction.source
            backward = "transpose(" in source
            found.append(OpTraffic(instruction.op, _plain(source), backward, times, moved * times, fast * times))


def _collect_called(module: Module, instruction: Instruction, times: int, found: list[OpTraffic]) -> None:
    """Appends what a call runs; of several branches, the one that moves most."""
    branches: list[list[OpTraffic]] = []
    for called in instruction.called:
        branches.append([])
        _collect(module, called, times * instruction.trips, branches[-1])
    if instruction.op == "conditional":
        branches = [max(branches, key=lambda branch: sum(op.bytes_moved for op in branch), default=[])]
    for branch in branches:
        found += branch


def _moved(module: Module, instruction: Instruction, types: dict[str, str]) -> tuple[float, float]:
    """Bytes that an instruction reads and writes in one run, and those of them in fast memory."""
    operands = [types.get(name, "") for name in instruction.operands]
    everywhere = sum(map(padded_bytes, operands)) + padded_bytes(instruction.type)
    fast = sum(padded_bytes(text, fast=True) for text in (*operands, instruction.type))
    if instruction.op == "custom-call":
        stated = _STATED.search(instruction.rest)
        return (max(int(stated[1]), fast), fast) if stated else (everywhere, fast)
    if instruction.op == "copy-start":  # its type is (result, operand, context)
        moved = 2 * sum(map(padded_bytes, operands))
        return moved, min(fast / 2, moved)
    if instruction.op in _SLICES:
        return 2 * padded_bytes(instruction.type), padded_bytes(instruction.type, fast=True)
    if instruction.op == "dynamic-update-slice":
        return 2 * padded_bytes(operands[1]), padded_bytes(operands[1], fast=True)
    if instruction.op == "fusion" and instruction.called:
        return _fused(module.computations.get(instruction.called[0], []), operands, instruction.type)
    return everywhere, fast


def _fused(body: list[Instruction], operands: list[str], result: str) -> tuple[float, float]:
    """As `_moved`, for a fusion with this body."""
    users: dict[str, list[Instruction]] = collections.defaultdict(list)
    for instruction in body:
        for name in instruction.operands:
            users[name].append(instruction)
    types = {instruction.name: instruction.type for instruction in body}
    moved = fast = 0.0
    for parameter in (instruction for instruction in body if instruction.op == "parameter"):
        operand = operands[int(parameter.rest.partition(")")[0])]
        size = _read_of_parameter(parameter.name, padded_bytes(operand), users, types)
        moved += size
        fast += size * (padded_bytes(operand, fast=True) > 0)
    root = next(instruction for instruction in body if instruction.is_root)
    written = padded_bytes(result)
    if root.op == "dynamic-update-slice":
        written = padded_bytes(types[root.operands[1]])
    in_fast = padded_bytes(result, fast=True) / max(padded_bytes(result), 1)
    return moved + written, fast + written * in_fast


def _read_of_parameter(name: str, size: int, users: dict[str, list[Instruction]], types: dict[str, str]) -> float:
    """Bytes that a fusion reads of a parameter of this size."""
    total = 0
    for user in users[name]:
        if user.op in _SLICES and user.operands[0] == name:
            total += padded_bytes(user.type)
        elif user.op == "dynamic-update-slice" and user.operands[0] == name:
            total += 0
        elif user.op == "bitcast":
            total += _read_of_parameter(user.name, size, users, types)
        else:
            return size
    return min(total, size)


def _plain(source: str) -> str:
    """A source without the wrappers of transformations: ``jit(f)/transpose(jvp(M))/a/dot`` is ``M/a/dot``."""
    _, *parts = source.split("/")
    return "/".join(part for part in map(_unwrapped, parts) if part not in ("", "closed_call"))


def _unwrapped(part: str) -> str:
    wrapped = _WRAPPER.match(part)
    return _unwrapped(wrapped[1]) if wrapped else part
