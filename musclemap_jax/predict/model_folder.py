"""What prediction needs of a trained model, and where it is read from: a run, an import, a model folder, the package.

A model folder holds `model.json` (configuration, muscle regions, clip length, decisions) and `weights.safetensors`,
arrays under the paths of the variables joined by slashes. It is how the shipped model is stored, and a run in a few
megabytes for others.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from flax import traverse_util
from safetensors.numpy import save

from musclemap_jax.checkpoints.trained import is_workdir, load_trained
from musclemap_jax.coach.margins import AlertMargins
from musclemap_jax.errors import UserError
from musclemap_jax.eval.decisions import Decisions
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.experiment.workdir import read_decisions, trained_clip_length_s, trained_regions, trained_spec
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.predict.stored_margins import read_margins
from musclemap_jax.pretrained.result import PARAMS, load_initial, read_report
from musclemap_jax.pretrained.source import read_safetensors
from musclemap_jax.storage.files import replace_bytes, replace_text
from musclemap_jax.taxonomy import MUSCLE_REGIONS, check_regions

MODEL, WEIGHTS = "model.json", "weights.safetensors"
FORMAT = 1

SHIPPED = Path(__file__).parent / "shipped"
"""The model folder inside the package."""

RELEASED_ARCHITECTURES = ("musclemap_s", "musclemap_b")
"""The authors' models, which were trained with softmax and are scored by it."""

_IMPORTED_FPS = 30.0
"""Frame rate by which the length of an imported model's clip is counted, since it comes without training clips."""


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """A trained model.

    Attributes:
      name: Where it comes from, for reports.
      spec: The configuration that it was trained with.
      regions: K names of the muscle regions.
      clip_length_s: Median length in seconds of the clips that it was trained on.
      variables: {"params": ..., "batch_stats": ...}, nested numpy arrays.
      decisions: How scores become decisions; None if the run was not calibrated.
      margins: Margins of alerts; None if there are none for these weights.
    """

    name: str
    spec: ExperimentSpec
    regions: tuple[str, ...]
    clip_length_s: float
    variables: dict[str, Any]
    decisions: Decisions | None
    margins: AlertMargins | None = None


def read_model(run: str | os.PathLike | None = None) -> StoredModel:
    """Reads a model.

    Args:
      run: A run's workdir or a folder that `musclemap_jax.pretrained` or `save_model` wrote, local or on cloud storage;
        None for the shipped model.

    Raises:
      UserError: There is no model, it cannot predict muscle regions, or it is damaged.
    """
    if run is None:
        return _read_folder(epath.Path(SHIPPED), "the shipped model, trained on rendered people only")
    folder = epath.Path(run)
    if (folder / MODEL).exists():
        return _read_folder(folder, str(run))
    if is_workdir(folder):
        return _read_workdir(folder)
    if (folder / PARAMS).exists():
        return _read_import(folder)
    raise UserError(
        f"{run}: expected the workdir of a run with checkpoints, an imported checkpoint ({PARAMS}) or a model folder "
        f"({MODEL}), found none of them"
    )


def save_model(folder: epath.PathLike, model: StoredModel) -> None:
    """Writes a model folder; weights are stored as float16, which changes probabilities by less than 1e-3.

    Raises:
      UserError: The folder cannot be written.
    """
    folder = epath.Path(folder)
    content = {
        "format": FORMAT,
        "name": model.name,
        "regions": list(model.regions),
        "clip_length_s": model.clip_length_s,
        "config": dataclasses.asdict(model.spec),
        "decisions": None if model.decisions is None else json.loads(model.decisions.to_json()),
    }
    flat = traverse_util.flatten_dict(model.variables, sep="/")
    arrays = {name: np.asarray(value, np.float16) for name, value in flat.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_bytes(folder / WEIGHTS, save(arrays))
        replace_text(folder / MODEL, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _read_folder(folder: epath.Path, name: str) -> StoredModel:
    path = folder / MODEL
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise UserError(f"{path}: expected format {FORMAT}, got {content['format']}: it needs another version")
        decisions = content["decisions"]
        arrays = {key: tensor.read().astype(np.float32) for key, tensor in read_safetensors(folder / WEIGHTS).items()}
        variables = {"batch_stats": {}} | traverse_util.unflatten_dict(arrays, sep="/")
        return StoredModel(
            name=name,
            spec=resolve(content["config"]),
            regions=check_regions(str(path), content["regions"]),
            clip_length_s=float(content["clip_length_s"]),
            variables=variables,
            decisions=None if decisions is None else Decisions.from_json(json.dumps(decisions), str(path)),
            margins=read_margins(folder, variables),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a model folder of this project, or damaged: {error!r}") from error


def _read_workdir(workdir: epath.Path) -> StoredModel:
    spec = trained_spec(workdir)
    variables = load_trained(workdir, spec.eval.checkpoint)  # the one that the report and the decisions are of
    return StoredModel(
        name=str(workdir),
        spec=spec,
        regions=trained_regions(workdir),
        clip_length_s=trained_clip_length_s(workdir),
        variables=variables,
        decisions=read_decisions(workdir),
        margins=read_margins(workdir, variables),
    )


def _read_import(folder: epath.Path) -> StoredModel:
    """An imported model whose head is for the 20 muscle regions, such as the authors' released ones."""
    variables = load_initial(folder)
    report = read_report(folder)
    heads = [name for name in variables["params"] if name.startswith("head_")]
    if not heads:
        raise UserError(f"{folder}: these weights have no head for muscle regions: train with them as config.init_from")
    num_regions = variables["params"][heads[0]]["bias"].shape[0]
    if num_regions != len(MUSCLE_REGIONS):
        raise UserError(f"{folder}: expected a head for the {len(MUSCLE_REGIONS)} muscle regions, got {num_regions}")
    model = report["model"] | {"num_regions": num_regions}
    spec = resolve({"model": model})
    is_released = report["architecture"] in RELEASED_ARCHITECTURES
    spec = dataclasses.replace(
        spec,
        input=dataclasses.replace(spec.input, **_input_fields(spec.model)),
        loss=dataclasses.replace(spec.loss, kind="softmax_bce" if is_released else spec.loss.kind),
    )
    return StoredModel(
        name=str(folder),
        spec=spec,
        regions=MUSCLE_REGIONS,
        clip_length_s=spec.input.num_frames * spec.input.frame_stride / _IMPORTED_FPS,
        variables=variables,
        decisions=None,
    )


def _input_fields(model: ModelSpec) -> dict[str, Any]:
    """Fields of `config.input` that the architectures of a model ask for."""
    fields: dict[str, Any] = {}
    for name in model.branches:
        architecture = model.architecture(name)
        fields |= BRANCHES[name].backbone.input_fields(architecture)
        if hasattr(architecture, "input_size"):
            num_frames, crop_size, _ = architecture.input_size
            fields |= {"num_frames": num_frames, "crop_size": crop_size}
    return fields
