"""Groups of equal layers: one module applied in a loop, its variables stacked.

A program that contains a layer ten times takes long to compile and to load, and ten arrays for each of its parameters
are ten times the optimizer's work to compile. So consecutive layers that are equal and preserve shapes form one module
whose variables have a leading axis for the layer, and run as one `lax.scan`. On CPU it is a loop. Elsewhere it is
unrolled: on TPU the loop takes a third less time to compile, but a gigabyte more memory (docs/tpu.md); on GPU neither
was measured.

A module's name says which layers it contains: `blocks_3` is block 3, `blocks_4_13` contains blocks 4 to 13 in order.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from flax import linen as nn

from musclemap_jax.models.layers.tap import TAPS
from musclemap_jax.sharding.context import platform

Layer = TypeVar("Layer", bound=nn.Module)
Carry = TypeVar("Carry")

STACKED_COLLECTIONS = ("params", "batch_stats", "intermediates", TAPS)


@dataclasses.dataclass(frozen=True)
class LayerGroup:
    """Consecutive equal layers.

    Attributes:
      first: Number of the first layer.
      count: The number of layers. The variables of a group of one are not stacked.
    """

    first: int
    count: int

    @property
    def layers(self) -> range:
        """The layers' numbers."""
        return range(self.first, self.first + self.count)

    def name(self, template: str) -> str:
        """The module's name; the template is a layer's name, such as ``blocks_{}`` or ``unit{:02d}``."""
        last = "_" + template[template.index("{") :].format(self.layers[-1]) if self.count > 1 else ""
        return template.format(self.first) + last

    def index(self, layer: int) -> tuple[int, ...]:
        """Leading index of one layer into the module's variables."""
        return (layer - self.first,) if self.count > 1 else ()

    @classmethod
    def from_name(cls, name: str, prefix: str) -> LayerGroup | None:
        """The group whose module has this name, such as ``blocks_4_13`` of prefix ``blocks_``; None for any other."""
        # Names come from files too: three digits bound the number of layers that one can claim.
        found = re.fullmatch(rf"{re.escape(prefix)}(\d{{1,3}})(?:_(\d{{1,3}}))?", name)
        if not found:
            return None
        first, last = int(found[1]), int(found[2] or found[1])
        return cls(first, last - first + 1) if last >= first else None


def group_equal_layers(
    layers: Sequence[Any], preserves_shape: Callable[[Any], bool], first: int = 0
) -> tuple[LayerGroup, ...]:
    """Groups consecutive equal layers; every layer is in one group, in order.

    Args:
      layers: The layers' specs; layers with equal specs are equal.
      preserves_shape: Whether a layer's output has the shape of its input; a layer that changes it is a group of its
        own.
      first: Number of the first layer.
    """
    groups: list[LayerGroup] = []
    for number, layer in enumerate(layers):
        if groups and preserves_shape(layer) and layer == layers[number - 1]:
            groups[-1] = dataclasses.replace(groups[-1], count=groups[-1].count + 1)
        else:
            groups.append(LayerGroup(first + number, 1))
    return tuple(groups)


def scan_layers(
    body: Callable[[Layer, Carry, Any], tuple[Carry, Any]], module: Layer, group: LayerGroup, carry: Carry, inputs: Any
) -> tuple[Carry, list[Any]]:
    """Applies the layers of a group one after another; returns the last carry, and each layer's outputs.

    Args:
      body: (module, carry, a layer's inputs) -> (a carry of the same shapes, the layer's outputs).
      module: The module that contains the group's variables.
      group: The layers.
      carry: Passed from layer to layer.
      inputs: A pytree of arrays with a leading axis for the group's layers.
    """
    if group.count == 1:
        carry, outputs = body(module, carry, jax.tree.map(lambda x: x[0], inputs))
        return carry, [outputs]
    loop = nn.scan(
        body,
        variable_axes=dict.fromkeys(STACKED_COLLECTIONS, 0),
        split_rngs={"params": True, "dropout": True},
        length=group.count,
        unroll=1 if platform() == "cpu" else group.count,
    )
    carry, stacked = loop(module, carry, inputs)
    return carry, [jax.tree.map(lambda x, index=index: x[index], stacked) for index in range(group.count)]
