"""Variables of equal layers, stacked as our modules hold them, and one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from musclemap_jax.models.layers.scanned_layers import Run, run_of_name


def stack_layers(tree: dict[str, Any], runs: Iterable[Run], form: str) -> dict[str, Any]:
    """Variables with a module for each layer -> with a module for each run; `form` as in `Run.name`."""
    tree = dict(tree)
    for run in runs:
        if run.count > 1:
            layers = [tree.pop(form.format(layer)) for layer in run.layers]
            tree[run.name(form)] = jax.tree.map(lambda *leaves: np.stack(leaves), *layers)
    return tree


def unstack_layers(tree: dict[str, Any], form: str) -> dict[str, Any]:
    """The inverse of `stack_layers`."""
    layers = {}
    for name, part in tree.items():
        run = run_of_name(name, form[: form.index("{")])
        if run is None:
            layers[name] = part
        else:
            for layer in run.layers:
                place = run.place(layer)
                layers[form.format(layer)] = jax.tree.map(lambda leaf, place=place: leaf[place], part)
    return layers
