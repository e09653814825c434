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

READ_PATCHES = "read_patches"
"""Name of the tap (layers/tap.py) of the patches (rows, *grid, D) that class tokens, or a pooling, read."""

TOKEN_LOGITS = "token_logits"
"""Name under which the logits of the tokens' attention to them are sown, (rows, heads, tokens, keys) or without heads;
the last keys are the patches."""

_NOTHING = r"(?!)"
"""A regular expression that matches nothing."""


@dataclasses.dataclass(frozen=True)
class PatchReading:
    """The last place where a network's output reads patches (T H W), of which its heat maps are made (explain/).

    Attributes:
      module: Path below the branch's name of the module with the tap `READ_PATCHES`.
      attention: Path of the module that sows `TOKEN_LOGITS`; None where there are no tokens.
      layer: Leading index into their values where the layer is one of a group (layers/scanned_layers.py).
      key_stride: Stride (t, h, w) of the attention's keys over the patches.
    """

    module: tuple[str, ...]
    attention: tuple[str, ...] | None = None
    layer: tuple[int, ...] = ()
    key_stride: tuple[int, int, int] = (1, 1, 1)


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
      check_regions: Raises UserError where the architecture does not fit muscle regions of these names, or this number
        of class tokens, None for one per region: (spec, names, number).
      reading: Where it reads patches last: (spec, M) -> PatchReading, or None where no heat map can be made.
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
    check_regions: Callable[[Any, Sequence[str], int | None], None] = lambda spec, regions, num_tokens: None
    reading: Callable[[Any, int], PatchReading | None] = lambda spec, num_tokens: None
    variants: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
