"""The workdir of a run: what it is recognised by, ``config.json``, and how its logits are read, ``decisions.json``.

``config.json`` is the configuration, and beside it what later uses of the model need of the data: the muscle regions
and the length of the training clips.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.eval.decisions import Decisions
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.storage.files import replace_text
from musclemap_jax.storage.json_files import read_json_object

CONFIG = "config.json"
REGIONS = "regions"
CLIP_LENGTH = "clip_length_s"
DECISIONS = "decisions.json"

MAY_CHANGE = (
    "data",
    "eval",
    "mesh",
    "train.log_every",
    "train.keep_checkpoints",
    "train.checkpoint_every",
    "train.stall_timeout_s",
)
"""Keys that may differ in a resumed run, because they do not change what is learned."""


def claim_workdir(workdir: epath.Path, spec: ExperimentSpec, regions: Sequence[str], clip_length_s: float) -> None:
    """Writes ``config.json`` into a new workdir, or compares configuration and regions with those of its run.

    Args:
      workdir: The run's workdir; made if absent.
      spec: The configuration.
      regions: Names of the muscle regions, in label order.
      clip_length_s: Median length of the training clips in seconds; the run of an older version gets it added.

    Raises:
      UserError: The workdir holds a run with another configuration or other regions.
    """
    check_regions(workdir, regions)
    path = workdir / CONFIG
    config = json.loads(json.dumps(dataclasses.asdict(spec)))
    of_data = {REGIONS: list(regions), CLIP_LENGTH: clip_length_s}
    before = _read_config(workdir) if path.exists() else None
    if before is not None:
        different = _differences({name: value for name, value in before.items() if name not in of_data}, config)
        if different:
            raise UserError(
                f"{path}: this workdir holds a run with another configuration ({'; '.join(different[:3])}): "
                "choose another --workdir, or pass the same configuration to resume that run"
            )
        if CLIP_LENGTH in before:
            return
    workdir.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        replace_text(path, json.dumps((before or config) | of_data, indent=2) + "\n")


def _read_config(workdir: epath.PathLike) -> dict[str, Any]:
    """The content of ``config.json``; UserError if it is damaged."""
    return read_json_object(epath.Path(workdir) / CONFIG, "restore it from a copy, or choose another --workdir")


def trained_spec(workdir: epath.PathLike) -> ExperimentSpec:
    """The configuration of the run in a workdir.

    Raises:
      UserError: The file is damaged, or of a version with other keys.
    """
    config = _read_config(workdir)
    try:
        return resolve({name: value for name, value in config.items() if name not in (REGIONS, CLIP_LENGTH)})
    except (TypeError, ValueError, AttributeError, UserError) as error:
        path = epath.Path(workdir) / CONFIG
        raise UserError(f"{path}: not the configuration of a run of this version: {error}") from error


def trained_regions(workdir: epath.PathLike) -> tuple[str, ...]:
    """Names of the muscle regions that the run in a workdir was trained on.

    Raises:
      UserError: The workdir is of a version that did not record them.
    """
    path = epath.Path(workdir) / CONFIG
    regions = _read_config(workdir).get(REGIONS)
    if regions is None:
        raise UserError(f"{path}: written by an older version, whose runs cannot be read: choose another --workdir")
    return tuple(regions)


def trained_backbones(workdir: epath.PathLike) -> dict[str, dict[str, Any]]:
    """Architectures of the run in a workdir as they are stored, {backbone: {field: value}}; {} if it has none."""
    model = _read_config(workdir).get("model")
    backbones = model.get("backbones") if isinstance(model, dict) else None
    return backbones if isinstance(backbones, dict) else {}


def trained_clip_length_s(workdir: epath.PathLike) -> float:
    """Median length in seconds of the clips that the run in a workdir was trained on.

    Raises:
      UserError: The workdir is of a version that did not record it.
    """
    path = epath.Path(workdir) / CONFIG
    length_s = _read_config(workdir).get(CLIP_LENGTH)
    if length_s is None:
        raise UserError(
            f"{path}: written by an older version, which did not record the length of the training clips: run the "
            "training command again, which adds it and trains no further"
        )
    return float(length_s)


def write_decisions(workdir: epath.PathLike, decisions: Decisions) -> None:
    """Writes the decisions of the run in a workdir, in place of earlier ones."""
    replace_text(epath.Path(workdir) / DECISIONS, decisions.to_json())


def read_decisions(workdir: epath.PathLike) -> Decisions | None:
    """The decisions of the run in a workdir; None if it has none.

    Raises:
      UserError: The file is damaged.
    """
    path = epath.Path(workdir) / DECISIONS
    return Decisions.from_json(path.read_text(), str(path)) if path.exists() else None


def check_regions(workdir: epath.Path, regions: Sequence[str]) -> None:
    """Compares the regions of the data with those that the run in a workdir was trained on.

    Args:
      workdir: The run's workdir; one without a run fits all data.
      regions: Names of the data's muscle regions, in label order.

    Raises:
      UserError: They differ, or the workdir is of a version that did not record them.
    """
    path = workdir / CONFIG
    if not path.exists():
        return
    trained = trained_regions(workdir)
    if trained != tuple(regions):
        raise UserError(
            f"{path}: the run was trained on {len(trained)} muscle regions and the prepared data has {len(regions)}: "
            f"{_difference(trained, regions)}: choose another --workdir, or the data that the run was trained on"
        )


def _difference(trained: Sequence[str], given: Sequence[str]) -> str:
    """What two different lists of names do not share; the first place at which they differ if they share all."""
    parts = [
        f"only {owner} {', '.join(names)}"
        for owner, names in (
            ("the run has", [name for name in trained if name not in given]),
            ("the data has", [name for name in given if name not in trained]),
        )
        if names
    ]
    if parts:
        return "; ".join(parts)
    place = next(place for place, pair in enumerate(zip(trained, given, strict=False)) if pair[0] != pair[1])
    return f"number {place} is {trained[place]} in the run and {given[place]} in the data"


def _differences(before: dict, after: dict, path: str = "") -> list[str]:
    """Keys whose values differ and must not, as text."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        key = f"{path}{name}"
        old, new = before.get(name), after.get(name)
        if key in MAY_CHANGE or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{key}.")
        else:
            found.append(f"{key} was {old}, is {new}")
    return found
