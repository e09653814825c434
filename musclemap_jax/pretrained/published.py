"""What a published model is to an import: our model of the same architecture, and where each of its arrays goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import traverse_util

from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.pretrained.transforms import COPY, LINEAR, Transform

Path = tuple[str, ...]

HEAD_RULE = "head for other classes"
NO_HEAD_RULE = "no head in the file"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One published array and its place.

    Attributes:
      source: Published key.
      target: Path in our variables, the collection (`params` or `batch_stats`) first.
      transform: Change from the published layout to ours.
      index: Leading indices into our array, of which the published one is a slice.
      misfit: The rule by which the pair is left out when shapes differ; None makes that an error.
      absent: The rule by which ours keeps its initial value when the published array is absent; None makes that an
        error.
    """

    source: str
    target: Path
    transform: Transform
    index: tuple[int, ...] = ()
    misfit: str | None = None
    absent: str | None = None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A published model, with the layout of its weights, and ours.

    Attributes:
      name: As in `architectures.ARCHITECTURES`.
      model: Our model.
      shapes: Shape of each of our variables by path.
      entries: The table of published arrays.
      ignored: (pattern, rule) of published keys that are left out.
    """

    name: str
    model: ModelSpec
    shapes: Mapping[Path, tuple[int, ...]]
    entries: tuple[Entry, ...]
    ignored: tuple[tuple[str, str], ...] = ()


PARAMS, STATISTICS = "params", "batch_stats"

NORM = {
    (PARAMS, "scale"): "weight",
    (PARAMS, "bias"): "bias",
    (STATISTICS, "mean"): "running_mean",
    (STATISTICS, "var"): "running_var",
}
"""PyTorch's names of a norm's arrays, by collection and our name."""

Source = tuple[str, Transform, tuple[int, ...]]
"""Published name, change of layout, and leading index into our array of which the published one is a slice."""


@dataclasses.dataclass(frozen=True)
class Names:
    """The published names of a backbone, which follow from our paths by rules.

    Attributes:
      rules: (path of a variable below the branch, the collection first) -> the published arrays that it consists of.
      head: The classifier's published name.
      ignored: (pattern, rule) of published keys that have no counterpart in our model.
    """

    rules: Callable[[Path], Sequence[Source]]
    head: str
    ignored: tuple[tuple[str, str], ...] = ()

    def entries(self, path: Path) -> list[Entry]:
        """The published arrays of a variable of a model; its path begins with the collection and the branch.

        Raises:
          KeyError: The published model has no such variable.
        """
        collection, part, *rest = path
        if part.startswith("head_"):
            source, transform = head_name(self.head, rest[0])
            return [Entry(source, path, transform, misfit=HEAD_RULE, absent=NO_HEAD_RULE)]
        sources = self.rules((collection, *rest))
        return [Entry(source, path, transform, index) for source, transform, index in sources]


def named_architecture(name: str, model: ModelSpec, names: Names, num_persons: int = 1) -> Architecture:
    """The architecture of a model of one branch by its published names; other arguments as in `Architecture`."""
    shapes = model_shapes(model, num_persons)
    entries = [entry for path in shapes for entry in names.entries(path)]
    return Architecture(name, model, shapes, tuple(entries), names.ignored)


def branch_model(branch: str, num_tokens: int = 0, **fields: Any) -> ModelSpec:
    """One branch alone with a head; `num_tokens` 0 makes the published one."""
    return ModelSpec(branches=(branch,), num_tokens=num_tokens, sites="none", fusion="none", **fields)


def model_shapes(model: ModelSpec, num_persons: int = 1) -> dict[Path, tuple[int, ...]]:
    """Path and shape of every variable of a model, found without computing any."""
    inputs = {name: BRANCHES[name].example(model.architecture(name), num_persons) for name in model.branches}
    variables = jax.eval_shape(
        lambda: TransM3E(model).init(jax.random.key(0), inputs, 1, False, True, method=TransM3E.run)
    )
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(dict(variables)).items()}


def head_name(head: str, leaf: str) -> tuple[str, Transform]:
    """Published name of a head's `kernel` or `bias`, and its transform."""
    return (f"{head}.weight", LINEAR) if leaf == "kernel" else (f"{head}.bias", COPY)
