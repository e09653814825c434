"""Initialises a model from an import's folder or from an earlier run, and accounts for every array of both."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.pretrained.report import LeftOut
from musclemap_jax.pretrained.result import VARIABLES, Tree
from musclemap_jax.pretrained.transforms import resize_axis

CLASS_TOKENS, HEAD, FUSION = "class tokens", "head", "fusion"
TABLE, GRAPH = "table of relative positions", "graph of a skeleton layout"
STREAM = "additional input stream"
OPTIONAL_PARTS = {"head_": HEAD, "fusion_": FUSION, "kd_": "projection of receiver tokens"}
"""{beginning of the path below `params`: name} of parts that only one side may have; ours keep their initial values.

So do the parameters of class tokens and of additional input streams (which then have no effect at first), which each
backbone names (`branches.Backbone.token_pattern`, `stream_pattern`). An import may lack tables and what belongs to a
graph, such as one of weights trained on images or on another skeleton layout.
"""

RESHAPED_PARTS = (CLASS_TOKENS, HEAD, FUSION, GRAPH, STREAM)
"""Parts whose shapes depend on the number of regions, tokens, joints or persons: an array of another shape is left out.

Tables of relative positions are interpolated; in all other parts another shape is an error.
"""


@dataclasses.dataclass(frozen=True)
class InitialReport:
    """What became of the arrays when a model was initialised.

    `used` are the paths that were replaced, `interpolated` those of them that are tables of another length, `initial`
    those of the model that keep their initial values, and `left_out` the loaded ones without a place in the model.
    """

    used: tuple[str, ...]
    interpolated: tuple[str, ...]
    initial: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]

    def text(self) -> str:
        """A line with the number of loaded arrays, and one for each rule."""
        rules = [f"{TABLE} interpolated"] * len(self.interpolated)
        rules += [f"{entry.rule} initial" for entry in self.initial] + [f"{e.rule} left out" for e in self.left_out]
        counts = (f"  {rule}: {count}" for rule, count in collections.Counter(rules).items())
        return "\n".join([f"{len(self.used)} arrays loaded", *counts])


def initialise(
    params: Tree, batch_stats: Tree, loaded: Tree, branch: str | None = None, unlike: Collection[str] = ()
) -> tuple[Tree, Tree, InitialReport]:
    """Replaces a model's initial values by loaded ones.

    Args:
      params: Parameters of `TransM3E`, arrays or ShapeDtypeStructs.
      batch_stats: Batch statistics of `TransM3E`; {} where it has none.
      loaded: The result of `result.load_initial`, or the same of an earlier run.
      branch: The branch to initialise, with its head and fusion; if only one branch was loaded, it may have another
        name (weights trained on RGB serve a branch on RGB difference). None initialises all branches, which must all
        have been loaded.
      unlike: Parts that are left out even where their shapes agree: HEAD where the loaded weights were trained on other
        muscle regions, GRAPH and STREAM where they were trained on another skeleton layout or with another centre.

    Returns:
      params and batch_stats, in which loaded leaves are numpy arrays and the others those that were given; a report.

    Raises:
      UserError: The branch is absent, an array has the wrong shape or values that are not finite, or one side lacks an
        array outside the optional parts.
    """
    model = traverse_util.flatten_dict({"params": params, "batch_stats": batch_stats}, sep="/")
    given = traverse_util.flatten_dict({name: loaded.get(name) or {} for name in VARIABLES}, sep="/")
    if branch is not None:
        given = _of_branch(given, branch, model)
    scope = {name: leaf for name, leaf in model.items() if branch is None or _belongs(name, branch)}
    used, interpolated, initial, left_out = [], [], [], []
    for name in [*scope, *(name for name in given if name not in scope)]:
        part, in_both = _part(name), name in scope and name in given
        leaf = _fitted(name, np.asarray(given[name]), scope[name].shape) if in_both and part not in unlike else None
        if leaf is not None:
            model[name] = leaf.astype(scope[name].dtype)
            used.append(name)
            interpolated += [name] if leaf.shape != given[name].shape else []
            continue
        if in_both and part not in RESHAPED_PARTS:
            raise UserError(
                f"init_from: {name}: expected shape {scope[name].shape} of the model, got {given[name].shape}: they "
                "have different architectures"
            )
        if part is None or (part in (TABLE, GRAPH) and name not in scope):
            has, lacks = ("model", "loaded arrays") if name in scope else ("loaded arrays", "model")
            raise UserError(f"init_from: {name}: in the {has}, not in the {lacks}: they have different architectures")
        initial += [LeftOut(name, part)] if name in scope else []
        left_out += [LeftOut(name, part)] if name in given else []
    filled = traverse_util.unflatten_dict(model, sep="/")
    report = InitialReport(tuple(used), tuple(interpolated), tuple(initial), tuple(left_out))
    return filled.get("params", {}), filled.get("batch_stats", {}), report


def same_graphs(model: ModelSpec, backbones: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the skeleton graphs of a model equal those of stored architectures {backbone: {field: value}}."""
    for backbone, spec in ((BRANCHES[name].backbone, model.architecture(name)) for name in model.branches):
        known = {field.name for field in dataclasses.fields(spec)}
        stored = {name: value for name, value in backbones.get(backbone.name, {}).items() if name in known}
        stored = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
        try:
            if backbone.graph(dataclasses.replace(spec, **stored)) != backbone.graph(spec):
                return False
        except (TypeError, ValueError, UserError):  # an architecture that is not valid here is another one
            return False
    return True


def _fitted(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The loaded array in the model's shape: a table of another length is interpolated; None if it does not fit."""
    if not np.isfinite(array).all():
        raise UserError(f"init_from: {name}: holds values that are not finite: the weights are unusable")
    is_table = _part(name) == TABLE and array.ndim == len(shape)
    if is_table and (*array.shape[:-2], array.shape[-1]) == (*shape[:-2], shape[-1]):
        return resize_axis(array, -2, shape[-2])
    return array if array.shape == shape else None


def _part(name: str) -> str | None:
    """Name of the part of a path that may be absent or of another shape, if it is in one."""
    collection, part, rest = name.split("/", 2)
    if part in BRANCHES:
        backbone = BRANCHES[part].backbone
        if re.search(backbone.stream_pattern, rest):
            return STREAM
        if re.search(backbone.graph_pattern, rest):
            return GRAPH
        if re.search(backbone.table_pattern, rest):
            return TABLE
        return CLASS_TOKENS if collection == "params" and re.search(backbone.token_pattern, rest) else None
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
