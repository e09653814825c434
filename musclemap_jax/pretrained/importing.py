"""Fills our variables from a published checkpoint by a table and accounts for every array of both."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.published import Architecture, Entry, Path
from musclemap_jax.pretrained.report import ImportReport, LeftOut, Used
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor, read_checkpoint

NOT_AN_ARRAY = "not an array"
NAMES_SHOWN = 6
FLOATS = ("float16", "bfloat16", "float32", "float64")


class _Import:
    """One import; `arrays` and the lists fill entry by entry."""

    def __init__(self, tensors: Mapping[str, SourceTensor], architecture: Architecture, where: str) -> None:
        self._tensors, self._architecture, self._where = tensors, architecture, where
        self.arrays: dict[Path, np.ndarray] = {}
        self.used: list[Used] = []
        self.left_out: list[LeftOut] = []
        self.initial: list[LeftOut] = []

    def take(self, entry: Entry) -> None:
        """Fills the entry's target, or leaves it out by its rule."""
        shape = self._architecture.shapes[entry.target]
        target = "/".join(entry.target)
        if entry.source not in self._tensors:
            self._keep_initial(target, entry.absent or "absent")
            return
        tensor = self._tensors[entry.source]
        source_shape, part = tuple(tensor.shape), shape[len(entry.index) :]
        # Shapes are checked before anything is read, so a file cannot make us read more than its model needs.
        if not entry.transform.fits(source_shape, part):
            if entry.misfit is None:
                raise UserError(
                    f"{self._where}: {entry.source}: expected {entry.transform.name} that fits ours of {_by(part)} "
                    f"({target}), got {_by(source_shape)}: the file does not hold arch {self._architecture.name} with "
                    "these options"
                )
            rule = f"{entry.misfit} ({_by(source_shape)}, ours {_by(part)})"
            self.left_out.append(LeftOut(entry.source, rule))
            self._keep_initial(target, rule)
            return
        if entry.target not in self.arrays:
            self.arrays[entry.target] = np.full(shape, np.nan, np.float32)
        self.arrays[entry.target][entry.index] = entry.transform.forward(self._read(entry.source), part)
        change = entry.transform.change(source_shape, part)
        self.used.append(Used(entry.source, target, source_shape, part, change))

    def _keep_initial(self, target: str, rule: str) -> None:
        """Lists an array of ours once, though several published ones may be slices of it."""
        if LeftOut(target, rule) not in self.initial:
            self.initial.append(LeftOut(target, rule))

    def _read(self, name: str) -> np.ndarray:
        array = self._tensors[name].read()
        if array.dtype.name not in FLOATS:
            raise UserError(f"{self._where}: {name}: expected floating point numbers, got {array.dtype}")
        with np.errstate(over="ignore"):  # overflow becomes infinite and is refused
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise UserError(f"{self._where}: {name}: holds values that are not finite: the file is unusable")
        return array

    def leave_out_rest(self, other: tuple[str, ...]) -> list[str]:
        """Leaves out by rule what the table does not list; returns the names that no rule covers."""
        known = {entry.source for entry in self._architecture.entries}
        unknown = []
        for name in self._tensors:
            if name not in known:
                rule = next((rule for at, rule in self._architecture.ignored if re.search(at, name)), None)
                if rule is None:
                    unknown.append(name)
                else:
                    self.left_out.append(LeftOut(name, rule))
        self.left_out += [LeftOut(name, NOT_AN_ARRAY) for name in other]
        return unknown


def import_arrays(
    checkpoint: Checkpoint, architecture: Architecture, where: str = "checkpoint"
) -> tuple[dict[Path, np.ndarray], ImportReport]:
    """Fills the variables of an architecture.

    Args:
      checkpoint: The published arrays.
      architecture: The architecture, whose table is followed.
      where: Name of the file, for errors and the report.

    Returns:
      {path of ours, the collection first: float32 array}, without those that keep their initial values; the report.

    Raises:
      UserError: Published arrays are missing, unknown, of the wrong shape or not finite.
    """
    work = _Import(checkpoint.tensors, architecture, where)
    unknown = work.leave_out_rest(checkpoint.other)
    missing = [e.source for e in architecture.entries if e.source not in checkpoint.tensors and e.absent is None]
    if unknown or missing:
        raise UserError(_difference(where, architecture, missing, unknown))
    for entry in architecture.entries:
        work.take(entry)
    initial = {tuple(name.name.split("/")) for name in work.initial}
    if partly := sorted(initial & set(work.arrays)):
        raise UserError(
            f"{where}: holds {'/'.join(partly[0])} of some layers and not of others: the file is damaged, or choose "
            "another --arch"
        )
    unfilled = set(architecture.shapes) - set(work.arrays) - initial
    if unfilled or any(np.isnan(array).any() for array in work.arrays.values()):
        raise ValueError(f"table of {architecture.name} does not fill {sorted(unfilled) or 'all slices'}")
    report = ImportReport(where, architecture.name, tuple(work.used), tuple(work.left_out), tuple(work.initial))
    return work.arrays, report


def import_file(path: str | os.PathLike, architecture: Architecture) -> tuple[dict[Path, np.ndarray], ImportReport]:
    """Reads a checkpoint file and fills the variables of an architecture; see `import_arrays`."""
    return import_arrays(read_checkpoint(path), architecture, os.fspath(path))


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(name[:80] for name in names[:NAMES_SHOWN]) + more


def _difference(where: str, architecture: Architecture, missing: list[str], unknown: list[str]) -> str:
    parts = []
    if missing:
        parts.append(f"{len(missing)} arrays are missing ({_listed(missing)})")
    if unknown:
        parts.append(f"{len(unknown)} are not part of this model ({_listed(unknown)})")
    return (
        f"{where}: not a checkpoint of arch {architecture.name}: {'; '.join(parts)}: choose another --arch, or change "
        "its options"
    )
