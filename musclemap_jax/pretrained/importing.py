"""Fills our variables from a published checkpoint by a table and accounts for every array of both."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.prefixes import locate
from musclemap_jax.pretrained.published import Architecture, Path
from musclemap_jax.pretrained.report import ImportReport, LeftOut, Used
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor, read_checkpoint

NOT_AN_ARRAY = "not an array"
NAMES_SHOWN = 6
IGNORED = (
    (r"(^|\.)num_batches_tracked$", "count of steps of a batch norm with fixed momentum"),
    (r"(^|\.)total_(ops|params)$", "count that a profiler left in the model"),
)
"""(pattern, rule) of names that are left out of every file: no published model has such arrays of its own."""

FLOATS = ("float16", "bfloat16", "float32", "float64")


def import_arrays(
    checkpoint: Checkpoint, architecture: Architecture, where: str = "checkpoint", prefix: str = ""
) -> tuple[dict[Path, np.ndarray], ImportReport]:
    """Fills the variables of an architecture by its table.

    Args:
      checkpoint: The published arrays.
      architecture: The published model and ours.
      where: Name of the file, for errors and the report.
      prefix: Beginning of the names of the wanted copy of the model, such as `model_ema`; empty to find the model.

    Returns:
      {path of ours, the collection first: float32 array}, without those that keep their initial values; the report.

    Raises:
      UserError: Published arrays are missing, unknown, of the wrong shape or not finite.
    """
    located = locate(checkpoint.tensors, {entry.source for entry in architecture.entries}, where, prefix)
    tensors = located.tensors
    other = [name.removeprefix(located.prefix) for name in checkpoint.other if name.startswith(located.prefix)]
    left_out = [*_ignored(tensors, architecture, where), *(LeftOut(name, NOT_AN_ARRAY) for name in other)]
    left_out += located.outside
    arrays: dict[Path, np.ndarray] = {}
    used, initial = [], []
    for entry in architecture.entries:
        shape, target = architecture.shapes[entry.target], "/".join(entry.target)
        if entry.source not in tensors:
            initial.append(LeftOut(target, str(entry.absent)))
            continue
        source_shape, part = tuple(tensors[entry.source].shape), shape[len(entry.index) :]
        # Shapes are checked before anything is read, so a file cannot make us read more than its model needs.
        if not entry.transform.fits(source_shape, part):
            if entry.misfit is None:
                raise UserError(
                    f"{where}: {entry.source}: expected {entry.transform.name} that fits ours of {_by(part)} "
                    f"({target}), got {_by(source_shape)}: the file does not hold arch {architecture.name} with "
                    "these options"
                )
            rule = f"{entry.misfit} ({_by(source_shape)}, ours {_by(part)})"
            left_out.append(LeftOut(entry.source, rule))
            initial.append(LeftOut(target, rule))
            continue
        array = _read(tensors[entry.source], f"{where}: {entry.source}")
        if entry.target not in arrays:
            arrays[entry.target] = np.full(shape, np.nan, np.float32)
        arrays[entry.target][entry.index] = entry.transform.forward(array, part)
        used.append(Used(entry.source, target, source_shape, part, entry.transform.change(source_shape, part)))
    kept = {tuple(name.name.split("/")) for name in initial}
    if partly := sorted(kept & arrays.keys()):
        raise UserError(
            f"{where}: holds {'/'.join(partly[0])} of some layers and not of others: the file is damaged, or choose "
            "another --arch"
        )
    unfilled = architecture.shapes.keys() - arrays.keys() - kept
    if unfilled or any(np.isnan(array).any() for array in arrays.values()):
        raise ValueError(f"table of {architecture.name} does not fill {sorted(unfilled) or 'all slices'}")
    # Several published arrays may be slices of one of ours, which is listed once.
    lists = tuple(used), tuple(left_out), tuple(dict.fromkeys(initial))
    return arrays, ImportReport(where, architecture.name, *lists, prefix=located.prefix)


def import_file(
    path: str | os.PathLike, architecture: Architecture, prefix: str = ""
) -> tuple[dict[Path, np.ndarray], ImportReport]:
    """Reads a checkpoint file and fills the variables of an architecture; see `import_arrays`."""
    return import_arrays(read_checkpoint(path), architecture, os.fspath(path), prefix)


def _ignored(tensors: Collection[str], architecture: Architecture, where: str) -> list[LeftOut]:
    """The published arrays outside the table, each with its rule; UserError if one has none, or one is missing."""
    known = {entry.source: entry.absent for entry in architecture.entries}
    rules = {
        name: next((rule for pattern, rule in (*architecture.ignored, *IGNORED) if re.search(pattern, name)), "")
        for name in tensors
        if name not in known
    }
    unknown = [name for name, rule in rules.items() if not rule]
    missing = [name for name, absent in known.items() if name not in tensors and absent is None]
    parts = [f"{len(missing)} arrays are missing ({_listed(missing)})"] if missing else []
    parts += [f"{len(unknown)} are not part of this model ({_listed(unknown)})"] if unknown else []
    if parts:
        raise UserError(
            f"{where}: not a checkpoint of arch {architecture.name}: {'; '.join(parts)}: choose another --arch, change "
            "its options, or leave out what is not part of it by --ignore"
        )
    return [LeftOut(name, rule) for name, rule in rules.items()]


def _read(tensor: SourceTensor, where: str) -> np.ndarray:
    array = tensor.read()
    if array.dtype.name not in FLOATS:
        raise UserError(f"{where}: expected floating point numbers, got {array.dtype}")
    with np.errstate(over="ignore"):  # overflow becomes infinite and is refused
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{where}: holds values that are not finite: the file is unusable")
    return array


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(name[:80] for name in names[:NAMES_SHOWN]) + more
