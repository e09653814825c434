"""The folder that an import writes, and how a model is initialised from it or from an earlier run.

A folder holds `params.safetensors`, arrays under the paths of our variables joined by slashes (`params/video/
blocks_0/attn/qkv/kernel`, `batch_stats/skeleton/...`), and `report.json`.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file

from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.pretrained.published import Architecture
from musclemap_jax.pretrained.report import ImportReport, LeftOut
from musclemap_jax.pretrained.source import read_safetensors
from musclemap_jax.storage.files import UNFINISHED

PARAMS, REPORT = "params.safetensors", "report.json"
VARIABLES = ("params", "batch_stats")

Tree = dict[str, Any]

CLASS_TOKENS, HEAD, FUSION = "class tokens", "head", "fusion"
OPTIONAL_PARTS = {"head_": HEAD, "fusion_": FUSION, "kd_": "projection of receiver tokens"}
"""{beginning of the path below `params`: name} of parts that only one side may have; ours keep their initial values.

So do the parameters of class tokens, which each backbone names (`branches.Backbone.token_pattern`).
"""

RESHAPED_PARTS = (CLASS_TOKENS, HEAD, FUSION)
"""Optional parts whose shapes depend on the number of regions or tokens: an array of another shape is left out.

In all other parts that is an error.
"""


@dataclasses.dataclass(frozen=True)
class InitialReport:
    """What became of the arrays when a model was initialised.

    `used` are the paths that were replaced, `initial` those of the model that keep their initial values, and `left_out`
    the loaded ones without a place in the model.
    """

    used: tuple[str, ...]
    initial: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]

    def text(self) -> str:
        """A line with the number of loaded arrays, and one for each rule."""
        rules = [f"{entry.rule} initial" for entry in self.initial] + [f"{e.rule} left out" for e in self.left_out]
        counts = (f"  {rule}: {count}" for rule, count in collections.Counter(rules).items())
        return "\n".join([f"{len(self.used)} arrays loaded", *counts])


def save_initial(
    directory: str | os.PathLike,
    arrays: Mapping[tuple[str, ...], np.ndarray],
    report: ImportReport,
    architecture: Architecture,
) -> None:
    """Writes an import's folder; existing files are replaced.

    Raises:
      UserError: The folder cannot be written.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        named = {"/".join(path): np.ascontiguousarray(array) for path, array in arrays.items()}
        unfinished = directory / f"{PARAMS}{UNFINISHED}"
        save_file(named, unfinished)
        unfinished.replace(directory / PARAMS)
        report.write(directory / REPORT, model=dataclasses.asdict(architecture.model))
    except OSError as error:
        raise UserError(f"{directory}: cannot be written: {error.strerror or error}: choose another --out") from error


def load_initial(directory: str | os.PathLike) -> Tree:
    """Reads a folder that `save_initial` wrote: {"params": ..., "batch_stats": ...}, nested, of float32 arrays.

    Raises:
      UserError: The folder is absent or damaged.
    """
    path = Path(directory) / PARAMS
    if not path.is_file():
        raise UserError(f"{path}: no such file: make it by python -m musclemap_jax.pretrained --out={directory} ...")
    flat = {tuple(name.split("/")): tensor.read() for name, tensor in read_safetensors(path).items()}
    if any(name[0] not in VARIABLES or len(name) < 3 for name in flat):
        raise UserError(f"{path}: holds arrays that an import does not write: give the folder of an import")
    tree = traverse_util.unflatten_dict(flat)
    return {name: tree.get(name, {}) for name in VARIABLES}


def initialise(
    params: Tree, batch_stats: Tree, loaded: Tree, branch: str | None = None, same_regions: bool = True
) -> tuple[Tree, Tree, InitialReport]:
    """Replaces a model's initial values by loaded ones.

    Args:
      params: Parameters of `TransM3E`, arrays or ShapeDtypeStructs.
      batch_stats: Batch statistics of `TransM3E`; {} where it has none.
      loaded: The result of `load_initial`, or the same of an earlier run.
      branch: The branch to initialise, with its head and fusion; if only one branch was loaded, it may have another
        name (weights trained on RGB serve a branch on RGB difference). None initialises all branches, which must all
        have been loaded.
      same_regions: Whether the loaded weights were trained on the model's muscle regions; otherwise its heads are left
        out even where their shapes agree.

    Returns:
      params and batch_stats, in which loaded leaves are numpy arrays and the others those that were given; a report.

    Raises:
      UserError: The branch is absent, an array has the wrong shape, or one side lacks an array outside the optional
        parts.
    """
    model = traverse_util.flatten_dict({"params": params, "batch_stats": batch_stats}, sep="/")
    given = traverse_util.flatten_dict({name: loaded.get(name) or {} for name in VARIABLES}, sep="/")
    if branch is not None:
        given = _of_branch(given, branch, model)
    scope = {name: leaf for name, leaf in model.items() if branch is None or _belongs(name, branch)}
    used, initial, left_out = [], [], []
    for name in [*scope, *(name for name in given if name not in scope)]:
        part = _optional_part(name)
        fits = name in scope and name in given and scope[name].shape == given[name].shape
        if fits and (same_regions or part != HEAD):
            model[name] = np.asarray(given[name]).astype(scope[name].dtype)
            used.append(name)
            continue
        if name in scope and name in given and part not in RESHAPED_PARTS:
            raise UserError(
                f"init_from: {name}: expected shape {scope[name].shape} of the model, got {given[name].shape}: "
                "import it again with this model's --input_size and --num_persons, or they have different architectures"
            )
        if part is None:
            has, lacks = ("model", "loaded arrays") if name in scope else ("loaded arrays", "model")
            raise UserError(f"init_from: {name}: in the {has}, not in the {lacks}: they have different architectures")
        if name in scope:
            initial.append(LeftOut(name, part))
        if name in given:
            left_out.append(LeftOut(name, part))
    filled = traverse_util.unflatten_dict(model, sep="/")
    report = InitialReport(tuple(used), tuple(initial), tuple(left_out))
    return filled.get("params", {}), filled.get("batch_stats", {}), report


def _optional_part(name: str) -> str | None:
    """Name of the optional part that a path belongs to, if any."""
    collection, part, rest = name.split("/", 2)
    if collection != "params":
        return None
    if part in BRANCHES:
        return CLASS_TOKENS if re.search(BRANCHES[part].backbone.token_pattern, rest) else None
    return next((label for prefix, label in OPTIONAL_PARTS.items() if part.startswith(prefix)), None)


def _belongs(name: str, branch: str) -> bool:
    """Whether a path belongs to a branch: its backbone, its head, fusion or projections of its receiver tokens."""
    part = name.split("/")[1]
    return part in (branch, f"head_{branch}", f"fusion_{branch}") or part.startswith(f"kd_to_{branch}_")


def _of_branch(given: dict[str, Any], branch: str, model: dict[str, Any]) -> dict[str, Any]:
    """The loaded arrays of one branch, renamed to its name in the model."""
    if not any(name.startswith(f"params/{branch}/") for name in model):
        raise UserError(f"init_from: the model has no branch {branch!r}: name one of its branches")
    present = [name for name in BRANCHES if any(path.startswith(f"params/{name}/") for path in given)]
    if branch not in present and len(present) != 1:
        raise UserError(
            f"init_from: branch {branch!r} is not in the checkpoint, which has {', '.join(present) or 'none'}"
        )
    source = branch if branch in present else present[0]
    taken = {name: leaf for name, leaf in given.items() if _belongs(name, source)}
    return {re.sub(rf"(?<=[/_]){source}(?=[/_])", branch, name, count=1): leaf for name, leaf in taken.items()}
