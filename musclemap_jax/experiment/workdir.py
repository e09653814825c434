"""The workdir of a run: what it is recognised by, ``config.json``, and how its logits are read, ``decisions.json``.

``config.json`` is the configuration, what later uses of the model need of the data (the muscle regions and the length
of the training clips), and what was changed when the run was resumed. It can be given as a configuration, by --config.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.eval.decisions import Decisions
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.experiment.resumption import LEARNED, Change, changes, check_resumable, kind
from musclemap_jax.storage.files import replace_text
from musclemap_jax.storage.json_files import read_json_object

CONFIG = "config.json"
REGIONS = "regions"
CLIP_LENGTH = "clip_length_s"
CHANGES = "changes"
DECISIONS = "decisions.json"
REPORT_FOLDER, EVALUATION_FOLDER, STRESS_FOLDER = "report", "evaluation", "stress"
"""Folders of the report that ends the training, of a later evaluation's, and of a stress test's."""

_OF_RUN = (REGIONS, CLIP_LENGTH, CHANGES)
"""Keys of `config.json` that are not the configuration's."""


def claim_workdir(
    workdir: epath.Path,
    spec: ExperimentSpec,
    regions: Sequence[str],
    clip_length_s: float,
    *,
    num_clips: int,
    step: int | None,
    extend: bool = False,
) -> list[Change]:
    """Writes ``config.json``, or compares configuration and regions with those of the run in the workdir.

    What may change in a resumed run (`resumption.KINDS`) is updated in the file, which lists the changes with their
    steps.

    Args:
      workdir: The run's workdir; made if absent.
      spec: The configuration.
      regions: Names of the muscle regions, in label order.
      clip_length_s: Median length of the training clips in seconds; the run of an older version gets it added.
      num_clips: Number of training clips.
      step: Step of the checkpoint from which the run is resumed; None for a run without one, which has learned nothing:
        the workdir is then configured from the beginning.
      extend: Whether the run may become longer.

    Returns:
      What changes in a resumed run.

    Raises:
      UserError: The run was trained with another configuration or other regions.
    """
    path = workdir / CONFIG
    config: dict[str, Any] = dataclasses.asdict(spec)
    history, found = [], []
    if step is not None and path.exists():
        check_regions(workdir, regions)
        before, stored = trained_spec(workdir), _read_config(workdir)
        found = check_resumable(before, spec, step=step, num_clips=num_clips, extend=extend, workdir=os.fspath(workdir))
        if not found and CLIP_LENGTH in stored:
            return []
        config["init_from"] = dict(before.init_from)
        clip_length_s = stored.get(CLIP_LENGTH, clip_length_s)
        history = [*stored.get(CHANGES, ()), *({"step": step, **change._asdict()} for change in found)]
    workdir.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        of_run = {REGIONS: list(regions), CLIP_LENGTH: clip_length_s, CHANGES: history}
        replace_text(path, json.dumps(config | of_run, indent=2) + "\n")
    return found


def _read_config(workdir: epath.PathLike) -> dict[str, Any]:
    """The content of ``config.json``; UserError if it is damaged."""
    return read_json_object(epath.Path(workdir) / CONFIG, "restore it from a copy, or choose another --workdir")


def trained_spec(workdir: epath.PathLike) -> ExperimentSpec:
    """The configuration of the run in a workdir; keys that its version did not know have their defaults.

    Raises:
      UserError: There is no run, or the file is damaged, or of a version with other keys.
    """
    path = epath.Path(workdir) / CONFIG
    if not path.exists():
        raise UserError(f"{workdir}: no run here: train first, or name the workdir of a run")
    config = _read_config(workdir)
    try:
        return resolve({name: value for name, value in config.items() if name not in _OF_RUN})
    except (TypeError, ValueError, AttributeError, UserError) as error:
        raise UserError(f"{path}: not the configuration of a run of this version: {error}") from error


def evaluation_spec(workdir: epath.PathLike, given: ExperimentSpec) -> ExperimentSpec:
    """The configuration by which a run is evaluated: its own, with the given data, evaluation and mesh.

    Raises:
      UserError: There is no run, or the given model, input or loss is another one than the run's.
    """
    trained = trained_spec(workdir)
    different = [
        str(change) for change in changes(trained, given, "model", "input", "loss") if kind(change.key) == LEARNED
    ]
    if different:
        raise UserError(
            f"{workdir}: the run was trained with another configuration ({'; '.join(different[:3])}): leave out "
            "--config, or these keys, to evaluate the run as it was trained"
        )
    return dataclasses.replace(
        trained,
        data=given.data,
        eval=given.eval,
        mesh=given.mesh,
        input=dataclasses.replace(trained.input, num_views=given.eval.num_views, num_crops=given.eval.num_crops),
    )


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
