"""Taps: intermediate values by which outputs can be differentiated, for explanations (explain/)."""

from __future__ import annotations

import jax
from flax import linen as nn

TAPS = "taps"
"""The collection of what is added to the tapped values."""


def tap(module: nn.Module, name: str, value: jax.Array) -> jax.Array:
    """Sows a value in `intermediates` and adds what the collection `taps` has for it, if anything.

    The gradient with respect to zeros in `taps` is the gradient with respect to the value. Without both collections it
    is the identity.
    """
    module.sow("intermediates", name, value)
    return value + module.get_variable(TAPS, name) if module.has_variable(TAPS, name) else value
