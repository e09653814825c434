"""Variables of equal layers, stacked as our modules hold them, and one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from musclemap_jax.models.layers.scanned_layers import LayerGroup


def stack_layers(tree: dict[str, Any], groups: Iterable[LayerGroup], template: str) -> dict[str, Any]:
    """Variables with a module for each layer -> with a module for each group; `template` as in `LayerGroup.name`."""
    tree = dict(tree)
    for group in groups:
        if group.count > 1:
            layers = [tree.pop(template.format(layer)) for layer in group.layers]
            tree[group.name(template)] = jax.tree.map(lambda *leaves: np.stack(leaves), *layers)
    return tree


def unstack_layers(tree: dict[str, Any], template: str) -> dict[str, Any]:
    """The inverse of `stack_layers`."""
    layers = {}
    for name, part in tree.items():
        group = LayerGroup.from_name(name, template[: template.index("{")])
        if group is None:
            layers[name] = part
        else:
            for layer in group.layers:
                index = group.index(layer)
                layers[template.format(layer)] = jax.tree.map(lambda leaf, index=index: leaf[index], part)
    return layers
