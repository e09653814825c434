"""What the backward pass recomputes of a backbone's layers instead of keeping it."""

from __future__ import annotations

from typing import TypeVar

import jax
from flax import linen as nn

from musclemap_jax.errors import UserError

Layer = TypeVar("Layer", bound=nn.Module)

REMAT_POLICIES = {"none": None, "blocks": None, "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable}
"""`none` keeps everything, `blocks` the inputs of layers, `dots` also the outputs of linear layers."""


def remat_class(layer: type[Layer], remat: str, static_argnums: tuple[int, ...]) -> type[Layer]:
    """The class of a layer with a policy; `static_argnums` are its arguments that are not arrays, the module being 0.

    A function, because flax can capture the results of a module's methods.

    Raises:
      UserError: Unknown policy.
    """
    if remat not in REMAT_POLICIES:
        raise UserError(f"remat: expected one of {', '.join(REMAT_POLICIES)}, got {remat!r}")
    if remat == "none":
        return layer
    return nn.remat(layer, static_argnums=static_argnums, policy=REMAT_POLICIES[remat])
