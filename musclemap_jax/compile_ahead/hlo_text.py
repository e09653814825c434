"""Reads the text of a compiled XLA program (`jax.stages.Compiled.as_text`): its computations and their instructions."""

from __future__ import annotations

import dataclasses
import math
import re

BYTES = {"pred": 1, "bf16": 2, "c64": 8, "c128": 16} | {
    f"{kind}{bits}": max(bits // 8, 1) for kind in "sufc" for bits in (2, 4, 8, 16, 32, 64)
}
"""Bytes per element by HLO type; eight-bit floats (``f8e4m3`` and the like) have one byte."""

FAST_MEMORY = "S(1)"
"""How a layout says that an array is in a TPU's VMEM instead of HBM."""

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(
    r"^\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<type>\(.*?\)|\S+) (?P<op>[a-z][a-z\-]*)\((?P<rest>.*)$"
)
_CALLED = re.compile(
    r"(?:body|calls|to_apply|true_computation|false_computation|called_computations=\{)=?%?([\w.\-]+)"
    r"|branch_computations=\{([^}]*)\}"
)
_TRIPS = re.compile(r'"?known_trip_count"?:\{"?n"?:"?(\d+)')
_OPERAND = re.compile(r"%?([\w.\-]+)\s*$")
_ARRAY = re.compile(r"([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_OP_NAME = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a computation.

    Attributes:
      name: Its name, unique in the program.
      type: The type of its result, such as ``bf16[4,96]{1,0:T(8,128)(2,1)}``.
      op: The opcode, such as ``fusion``.
      rest: What follows the opcode: operands and attributes.
      is_root: Whether its result is the computation's.
    """

    name: str
    type: str
    op: str
    rest: str
    is_root: bool = False

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the instructions that it takes."""
        depth, parts, start = 0, [], 0
        for place, letter in enumerate(self.rest):
            depth += (letter in "([{") - (letter in ")]}")
            if depth < 0 or (letter == "," and depth == 0):
                parts.append(self.rest[start:place])
                start = place + 1
            if depth < 0:
                break
        names = [_OPERAND.search(part) for part in parts]
        return tuple(name[1] for name in names if name)

    @property
    def called(self) -> tuple[str, ...]:
        """Computations that it runs: a loop's body, a fusion's or a call's computation, all branches."""
        names = []
        for one, several in _CALLED.findall(self.rest):
            names += [one] if one else [name.strip().lstrip("%") for name in several.split(",")]
        return tuple(names)

    @property
    def trips(self) -> int:
        """How often it runs what it calls: a loop's trip count if HLO states it, otherwise 1."""
        stated = _TRIPS.search(self.rest) if self.op == "while" else None
        return int(stated[1]) if stated else 1

    @property
    def source(self) -> str:
        """JAX's name of the operation that it was compiled from; empty if there is none."""
        found = _OP_NAME.search(self.rest)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True)
class Module:
    """A program: its computations by name, and the name of the one that is run."""

    computations: dict[str, list[Instruction]]
    entry: str


def read_module(hlo: str) -> Module:
    """Reads a program; lines that are neither a computation's head nor an instruction are skipped."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", []
    for line in hlo.splitlines():
        if header := _COMPUTATION.match(line):
            current = computations.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif found := _INSTRUCTION.match(line):
            current.append(
                Instruction(found["name"], found["type"], found["op"], found["rest"], is_root=bool(found["root"]))
            )
    return Module(computations, entry)


def array_bytes(text: str, fast: bool | None = None) -> int:
    """Bytes of an HLO type, such as ``f32[4,8]{1,0}`` or ``(bf16[16], u32[])``, without the padding of layouts.

    `fast` restricts it to arrays in `FAST_MEMORY` (True) or to the others (False).
    """
    return sum(array.itemsize * math.prod(array.sizes) for array in _arrays(text, fast))


def padded_bytes(text: str, fast: bool | None = None) -> int:
    """As `array_bytes`, with the padding of the layout's tiles, such as 128 elements of the last axis on a TPU."""
    total = 0
    for array in _arrays(text, fast):
        # Sizes from the outermost axis in memory to the innermost; the first tile pads the innermost of them.
        sizes = [array.sizes[axis] for axis in reversed(array.minor_to_major)] or list(array.sizes)
        for place, tile in enumerate(reversed(array.tile[: len(sizes)]), start=1):
            sizes[-place] = -(-sizes[-place] // tile) * tile
        total += array.itemsize * math.prod(sizes)
    return total


@dataclasses.dataclass(frozen=True)
class _Array:
    itemsize: int
    sizes: tuple[int, ...]
    minor_to_major: tuple[int, ...]
    tile: tuple[int, ...]


def _arrays(text: str, fast: bool | None) -> list[_Array]:
    found = []
    for kind, sizes, layout in _ARRAY.findall(text):
        if fast is not None and fast != (FAST_MEMORY in layout):
            continue
        order, _, tiling = layout.partition(":")
        tile = _TILE.match(tiling)
        found.append(
            _Array(
                itemsize=1 if kind.startswith("f8") else BYTES.get(kind, 0),
                sizes=tuple(int(part.lstrip("<=")) for part in sizes.split(",") if part),
                minor_to_major=tuple(int(axis) for axis in order.split(",") if axis),
                tile=tuple(int(size) for size in tile[1].split(",")) if tile else (),
            )
        )
    return found
