"""The scalars of a run over its steps: one JSON object per line, ``{"step": 10, "train/loss": 0.61, ...}``.

A resumed run may write steps twice, and a killed run or a failing disk may leave an incomplete or damaged line. When
read, the later line of a step wins, and damaged lines are ignored; the next resume removes them.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musclemap_jax.storage.files import replace_text

STEP = "step"


class Series(NamedTuple):
    """One scalar over the steps.

    Attributes:
      steps: (n,) int64, ascending.
      values: (n,) float64; NaN for recorded values that were not finite.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def append_scalars(path: str | Path, step: int, values: Mapping[str, float]) -> None:
    """Appends the line of an optimizer step to a .jsonl file, which is created if absent.

    Values that are not finite are written as null, since strict JSON has no NaN.
    """
    row = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
    text = json.dumps({STEP: int(step), **row}, allow_nan=False) + "\n"
    with Path(path).open("ab+") as file:
        if file.tell():
            file.seek(-1, io.SEEK_END)
            # After an incomplete line, start a new one; otherwise this row would be lost with it.
            text = text if file.read(1) == b"\n" else "\n" + text
        file.write(text.encode())


def read_scalars(path: str | Path) -> dict[str, Series]:
    """Name -> series of a .jsonl file, in the order of first appearance; an absent file has none.

    Lines that are not a JSON object with a step are ignored.
    """
    by_name: dict[str, dict[int, float]] = {}
    for line in _lines(Path(path)):
        row = _parse(line)
        for name, value in row.items():
            if name != STEP and (value is None or isinstance(value, int | float)):
                by_name.setdefault(name, {})[row[STEP]] = math.nan if value is None else float(value)
    return {name: _series(values) for name, values in by_name.items()}


def drop_scalars_after(path: str | Path, step: int) -> None:
    """Removes the lines of later steps, which a resumed run writes again, and damaged lines, if there is a file."""
    path = Path(path)
    kept = [line for line in _lines(path) if _parse(line).get(STEP, math.inf) <= step]
    if path.exists():
        replace_text(path, "".join(line + "\n" for line in kept))


def _lines(path: Path) -> list[str]:
    """The file's lines, damaged ones included; bytes that are not UTF-8 become a sign that no number or name has."""
    return path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []


def _parse(line: str) -> dict[str, Any]:
    """The row of a line; {} for a damaged one."""
    try:
        row = json.loads(line, parse_int=_int64)
    except (ValueError, RecursionError):
        return {}
    damaged = not isinstance(row, dict) or type(row.get(STEP)) is not int or any("\ufffd" in name for name in row)
    return {} if damaged else row


def _int64(digits: str) -> int:
    """The integer; ValueError for one that numpy's int64 and a float cannot hold."""
    value = int(digits)
    if abs(value) >= 2**63:
        raise ValueError(f"a number of {len(digits)} digits")
    return value


def _series(values: Mapping[int, float]) -> Series:
    steps = sorted(values)
    return Series(np.array(steps, np.int64), np.array([values[step] for step in steps], np.float64))
