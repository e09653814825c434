"""A backbone: a network that turns one modality into class tokens, with everything that the package knows of it.

Letters of shapes: B clips, M class tokens in one set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import linen as nn
from jax.typing import DTypeLike

from musclemap_jax.sharding.rules import Rules

Shape = tuple[int, ...]

_NOTHING = r"(?!)"
"""A regular expression that matches nothing."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network that turns one modality into class tokens.

    Attributes:
      name: Key of its architecture in `config.model.backbones`.
      default: Its default architecture, a frozen dataclass with `output_dim`, the width of its final tokens, and
        `stage_ends`, the last layer of every stage counted from 0, the very last layer included.
      build: (spec, num_tokens, receiver, dtype, remat, name) -> module, called as
        module(*inputs, train=...) -> BranchOutput. `num_tokens` is M, 0 for the published network; `remat` is
        `ModelSpec.remat`, which a backbone may ignore.
      multiply_adds: Counts the forward pass without a head: (spec, shapes of the inputs without their first axis,
        class tokens of all sets) -> multiply-adds for each row of the inputs.
      sharding_rules: Rules for its parameters, tried before the common ones; patterns are searched in the path below
        the branch's name.
      token_pattern: Regular expression that matches the path, below the branch's name, of the parameters that exist
        because of the class tokens.
      table_pattern: Regular expression that matches the path of tables of relative positions (..., rows, D); loaded
        ones of another length are interpolated.
      graph_pattern: Regular expression that matches the path of parameters and statistics that belong to a skeleton
        layout's graph or to a number of persons; loaded ones of another graph or shape are left out.
      stream_pattern: Regular expression that matches the path of parameters and statistics that exist because of
        additional input streams; where one side lacks a stream, ours keeps its initial values.
      graph: The skeleton graph of an architecture, for comparison; None where there is none.
      input_fields: Fields of `config.input` that must equal the architecture's: spec -> {field: value}.
      variants: Fields of the architecture in the variants of a configuration, {variant: {field: value}}; `smoke` starts
        from `synthetic` (experiment/variants.py).
    """

    name: str
    default: Any
    build: Callable[[Any, int, bool, DTypeLike, str, str], nn.Module]
    multiply_adds: Callable[[Any, Sequence[Shape], int], int]
    sharding_rules: Rules = ()
    token_pattern: str = r"^class_tokens/"
    table_pattern: str = _NOTHING
    graph_pattern: str = _NOTHING
    stream_pattern: str = _NOTHING
    graph: Callable[[Any], Any] = lambda spec: None
    input_fields: Callable[[Any], Mapping[str, Any]] = lambda spec: {}
    variants: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
