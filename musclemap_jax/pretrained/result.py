"""The folder that an import writes, and how a model is started from it or from an earlier run.

A folder holds `params.safetensors`, arrays under the paths of our variables joined by slashes (`params/video/
blocks_0/attn/qkv/kernel`, `batch_stats/skeleton/...`), and `report.json`.
"""

from __future__ import annotations

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
from musclemap_jax.models.transm3e import BRANCHES
from musclemap_jax.pretrained.architectures import Architecture
from musclemap_jax.pretrained.report import ImportReport, LeftOut
from musclemap_jax.pretrained.source import read_safetensors

PARAMS, REPORT = "params.safetensors", "report.json"
VARIABLES = ("params", "batch_stats")

Tree = dict[str, Any]

NEW_PARTS: tuple[tuple[str, str], ...] = (
    (r"^params/\w+/class_tokens/", "class tokens"),
    (r"^params/skeleton/(tokens|norm|unit\w+/tokens)(/|$)", "class tokens"),
    (r"^params/head_", "head"),
    (r"^params/fusion_", "fusion"),
    (r"^params/kd_", "map of receiver tokens"),
)
"""(pattern, name) of parts that a model may have beside a published one, or lack: they keep their initial values."""

RESHAPED_PARTS = ("class tokens", "head")
"""Of these, the parts that are left out where shapes differ; elsewhere that is an error."""


@dataclasses.dataclass(frozen=True)
class InitialReport:
    """What a model was started from.

    Attributes:
      used: paths that were replaced.
      initial: paths of the model's that keep their initial values, by rule.
      left_out: loaded paths that the model has no place for, by rule.
    """

    used: tuple[str, ...]
    initial: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]

    def text(self) -> str:
        """One line of counts, and one for each rule."""
        rules = [f"{entry.rule} initial" for entry in self.initial] + [f"{e.rule} left out" for e in self.left_out]
        lines = [f"{len(self.used)} arrays loaded"] + [
            f"  {rule}: {rules.count(rule)}" for rule in dict.fromkeys(rules)
        ]
        return "\n".join(lines)


def save_initial(
    directory: str | os.PathLike,
    arrays: Mapping[tuple[str, ...], np.ndarray],
    report: ImportReport,
    architecture: Architecture,
) -> None:
    """Writes an import's folder; files that are there are replaced.

    Raises:
      UserError: the folder cannot be written.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        named = {"/".join(path): np.ascontiguousarray(array) for path, array in arrays.items()}
        partial = directory / f"{PARAMS}.partial"
        save_file(named, partial)
        partial.replace(directory / PARAMS)
        report.write(directory / REPORT, model=dataclasses.asdict(architecture.model))
    except OSError as error:
        raise UserError(f"{directory}: cannot be written: {error.strerror or error}: choose another --out") from error


def load_initial(directory: str | os.PathLike) -> Tree:
    """Reads an import's folder.

    Args:
      directory: that `save_initial` wrote.

    Returns:
      {"params": ..., "batch_stats": ...}, nested, of float32 arrays.

    Raises:
      UserError: absent or damaged.
    """
    path = Path(directory) / PARAMS
    if not path.is_file():
        raise UserError(f"{path}: no such file: make it by python -m musclemap_jax.pretrained --out={directory} ...")
    flat = {tuple(name.split("/")): tensor.read() for name, tensor in read_safetensors(path).items()}
    if any(name[0] not in VARIABLES or len(name) < 3 for name in flat):
        raise UserError(f"{path}: holds other arrays than an import writes: give the folder of an import")
    tree = traverse_util.unflatten_dict(flat)
    return {name: tree.get(name, {}) for name in VARIABLES}


def initialise(
    params: Tree, batch_stats: Tree, loaded: Tree, branch: str | None = None
) -> tuple[Tree, Tree, InitialReport]:
    """Replaces a model's initial values by loaded ones.

    Args:
      params: of `TransM3E`, arrays or ShapeDtypeStructs.
      batch_stats: of `TransM3E`; {} where it has none.
      loaded: of `load_initial`, or {"params": ..., "batch_stats": ...} of an earlier run.
      branch: take this branch alone, with its head and fusion; a loaded branch of another name serves if it is the only
        one (a video branch for ``rgb_diff``). None: everything that is loaded, which must be all the branches.

    Returns:
      params and batch_stats in which loaded leaves are numpy arrays and the others those that were given, and a report.

    Raises:
      UserError: a branch that is not there, an array of another shape, or one that either side lacks beside the parts
        of NEW_PARTS.
    """
    model = _flat({"params": params, "batch_stats": batch_stats})
    given = _flat({name: loaded.get(name) or {} for name in VARIABLES})
    if branch is not None:
        given = _of_branch(given, branch, model)
    scope = {name: leaf for name, leaf in model.items() if branch is None or _belongs(name, branch)}
    used, initial, left_out = [], [], []
    for name in [*scope, *(name for name in given if name not in scope)]:
        part = next((part for pattern, part in NEW_PARTS if re.search(pattern, name)), None)
        if name in scope and name in given and _shape(scope[name]) == _shape(given[name]):
            model[name] = np.asarray(given[name]).astype(scope[name].dtype)
            used.append(name)
            continue
        if name in scope and name in given and part not in RESHAPED_PARTS:
            raise UserError(
                f"init_from: {name}: expected shape {_shape(scope[name])} of the model, got {_shape(given[name])}: "
                "import it again with this model's --input_size and --num_persons, or it is of another architecture"
            )
        if part is None:
            has, lacks = ("model", "loaded arrays") if name in scope else ("loaded arrays", "model")
            raise UserError(f"init_from: {name}: the {has} have it and the {lacks} do not: another architecture")
        if name in scope:
            initial.append(LeftOut(name, part))
        if name in given:
            left_out.append(LeftOut(name, part))
    filled = _nested(model)
    report = InitialReport(tuple(used), tuple(initial), tuple(left_out))
    return filled.get("params", {}), filled.get("batch_stats", {}), report


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(leaf.shape)


def _flat(tree: Tree) -> dict[str, Any]:
    return traverse_util.flatten_dict(tree, sep="/")


def _nested(flat: dict[str, Any]) -> Tree:
    return traverse_util.unflatten_dict(flat, sep="/")


def _belongs(name: str, branch: str) -> bool:
    """Whether a path is of a branch: below it, its head, fusion or maps of its receiver tokens."""
    part = name.split("/")[1]
    return part in (branch, f"head_{branch}", f"fusion_{branch}") or part.startswith(f"kd_to_{branch}_")


def _of_branch(given: dict[str, Any], branch: str, model: dict[str, Any]) -> dict[str, Any]:
    """The loaded arrays of one branch, under its name in the model."""
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
