"""Runs of equal layers: one layer in a loop, its variables stacked.

A program that holds a layer ten times over is long to compile and to load, and ten arrays for each of its parameters
are ten times the optimizer's work to compile. So layers in a row that are equal, and leave shapes as they are, lie in
one module whose variables have a leading axis for the layer, and run as one `lax.scan`. On CPU it is a loop. Elsewhere
its iterations are written out: on TPU the loop takes a third less time to compile, but a gigabyte more memory
(docs/tpu.md); on GPU neither was measured.

Names say which layers a module holds: `blocks_3` is block 3, `blocks_4_13` holds blocks 4 to 13 in this order.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from flax import linen as nn

from musclemap_jax.sharding.context import platform

Carry = TypeVar("Carry")

STACKED_COLLECTIONS = ("params", "batch_stats", "intermediates")


@dataclasses.dataclass(frozen=True)
class Run:
    """Equal layers in a row.

    Attributes:
      first: number of the first layer.
      count: how many there are; 1 for a layer that no other equals, whose variables are not stacked.
    """

    first: int
    count: int

    @property
    def layers(self) -> range:
        """The layers' numbers."""
        return range(self.first, self.first + self.count)

    def name(self, form: str) -> str:
        """The module's name.

        Args:
          form: of a layer's name up to its number, with the number's format, such as ``blocks_{}`` or ``unit{:02d}``.
        """
        last = "_" + form[form.index("{") :].format(self.layers[-1]) if self.count > 1 else ""
        return form.format(self.first) + last

    def place(self, layer: int) -> tuple[int, ...]:
        """Leading index of one layer into the module's variables."""
        return (layer - self.first,) if self.count > 1 else ()


def equal_runs(layers: Sequence[Any], keeps_shape: Callable[[Any], bool], first: int = 0) -> tuple[Run, ...]:
    """Groups layers.

    Args:
      layers: what each layer is made from; layers are equal where this is.
      keeps_shape: whether a layer's output has the shape of its input; layers that change it run alone.
      first: number of the first layer.

    Returns:
      Runs that hold every layer once, in order.
    """
    runs: list[Run] = []
    for number, layer in enumerate(layers):
        if runs and keeps_shape(layer) and layer == layers[number - 1]:
            runs[-1] = dataclasses.replace(runs[-1], count=runs[-1].count + 1)
        else:
            runs.append(Run(first + number, 1))
    return tuple(runs)


def run_of_name(name: str, prefix: str) -> Run | None:
    """The run whose module has this name; None for other modules.

    Args:
      name: of a module, such as ``blocks_4_13``.
      prefix: of the names, such as ``blocks_``.
    """
    # Names come from files too: three digits bound the layers that one can claim.
    found = re.fullmatch(rf"{re.escape(prefix)}(\d{{1,3}})(?:_(\d{{1,3}}))?", name)
    if not found:
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    return Run(first, last - first + 1) if last >= first else None


def run_layers(
    body: Callable[[nn.Module, Carry, Any], tuple[Carry, Any]], module: nn.Module, run: Run, carry: Carry, inputs: Any
) -> tuple[Carry, list[Any]]:
    """Calls the layers of a run one after another.

    Args:
      body: (module, carry, inputs of a layer) -> (carry of the same shapes, outputs of the layer).
      module: with the run's variables.
      run: which layers.
      carry: what passes from layer to layer.
      inputs: pytree of arrays with a leading axis for the run's layers.

    Returns:
      The last carry, and each layer's outputs.
    """
    if run.count == 1:
        carry, outputs = body(module, carry, jax.tree.map(lambda x: x[0], inputs))
        return carry, [outputs]
    loop = nn.scan(
        body,
        variable_axes=dict.fromkeys(STACKED_COLLECTIONS, 0),
        split_rngs={"params": True, "dropout": True},
        length=run.count,
        unroll=1 if platform() == "cpu" else run.count,
    )
    carry, stacked = loop(module, carry, inputs)
    return carry, [jax.tree.map(lambda x, place=place: x[place], stacked) for place in range(run.count)]
