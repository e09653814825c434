"""The folder that an import writes: its arrays and its report.

A folder holds `params.safetensors`, arrays under the paths of our variables joined by slashes (`params/video/
blocks_0/attn/qkv/kernel`, `batch_stats/skeleton/...`), and `report.json`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from flax import traverse_util
from safetensors.numpy import save

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.published import Architecture
from musclemap_jax.pretrained.report import ImportReport
from musclemap_jax.pretrained.source import read_safetensors
from musclemap_jax.storage.files import replace_bytes
from musclemap_jax.storage.json_files import read_json_object

PARAMS, REPORT = "params.safetensors", "report.json"
VARIABLES = ("params", "batch_stats")

Tree = dict[str, Any]


def save_initial(
    directory: epath.PathLike,
    arrays: Mapping[tuple[str, ...], np.ndarray],
    report: ImportReport,
    architecture: Architecture,
) -> None:
    """Writes an import's folder, local or on cloud storage; existing files are replaced.

    Raises:
      UserError: The folder cannot be written.
    """
    directory = epath.Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        named = {"/".join(path): np.ascontiguousarray(array) for path, array in arrays.items()}
        replace_bytes(directory / PARAMS, save(named))
        report.write(directory / REPORT, model=dataclasses.asdict(architecture.model))
    except OSError as error:
        raise UserError(f"{directory}: cannot be written: {error.strerror or error}: choose another --out") from error


def load_initial(directory: epath.PathLike) -> Tree:
    """Reads a folder that `save_initial` wrote: {"params": ..., "batch_stats": ...}, nested, of float32 arrays.

    Raises:
      UserError: The folder is absent or damaged.
    """
    path = epath.Path(directory) / PARAMS
    if not path.exists():
        raise UserError(f"{path}: no such file: make it by python -m musclemap_jax.pretrained --out={directory} ...")
    flat = {tuple(name.split("/")): tensor.read() for name, tensor in read_safetensors(path).items()}
    if any(name[0] not in VARIABLES or len(name) < 3 for name in flat):
        raise UserError(f"{path}: holds arrays that an import does not write: give the folder of an import")
    tree = traverse_util.unflatten_dict(flat)
    return {name: tree.get(name, {}) for name in VARIABLES}


def read_report(directory: epath.PathLike) -> dict[str, Any]:
    """Reads the report of an import's folder: the fields of `ImportReport`, and `model`, those of our `ModelSpec`.

    Raises:
      UserError: The file is absent or damaged.
    """
    path = epath.Path(directory) / REPORT
    content = read_json_object(path, "import the weights again")
    if not isinstance(content.get("model"), dict) or not isinstance(content["model"].get("backbones"), dict):
        raise UserError(f"{path}: damaged: it does not say which model it is of: import the weights again")
    return content
