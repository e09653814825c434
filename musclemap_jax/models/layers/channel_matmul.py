"""Matrix products over the channels or joints of channels-first arrays, with custom gradients.

The gradients that JAX derives for these einsums end in transposes of the large operand; written out, each is a single
product without copies. Values and gradients are those of the plain einsums.

Letters of shapes: G groups, D width, V joints, T frames.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def _contract_trailing(a: jax.Array, b: jax.Array, num_groups: int) -> jax.Array:
    """Contracts (groups..., A, ...) and (groups..., B, ...) over all axes after A and B: (groups..., A, B).

    The axes are summed in the order of memory, which einsum does not preserve, so they need not be reordered by copies.
    """
    groups, summed = tuple(range(num_groups)), tuple(range(num_groups + 1, a.ndim))
    return lax.dot_general(a, b, ((summed, summed), (groups, groups)))


@jax.custom_vjp
def channel_matmul(kernel: Float[Array, "*groups D D2"], x: Float[Array, " ..."]) -> Float[Array, " ..."]:
    """Maps channels (D, ...) to (D', ...) by a kernel (D, D'); or (G, D, ...) to (G, D', ...) by one kernel a group."""
    group = "g" * (kernel.ndim - 2)
    return jnp.einsum(f"{group}cd,{group}c...->{group}d...", kernel, x)


def _channels_backward(operands, gradient):
    kernel, x = operands
    group = "g" * (kernel.ndim - 2)
    # XLA:CPU transposes the second operand in memory, so the smaller one goes there.
    if x.size < gradient.size:
        d_kernel = _contract_trailing(gradient, x, kernel.ndim - 2).swapaxes(-1, -2)
    else:
        d_kernel = _contract_trailing(x, gradient, kernel.ndim - 2)
    return d_kernel, jnp.einsum(f"{group}cd,{group}d...->{group}c...", kernel, gradient)


channel_matmul.defvjp(lambda kernel, x: (channel_matmul(kernel, x), (kernel, x)), _channels_backward)


@jax.custom_vjp
def joint_matmul(edges: Float[Array, "G V V2"], x: Float[Array, "G D V2 T BP"]) -> Float[Array, "G D V T BP"]:
    """Sums over the source joints of each edge set; `edges` is indexed [group, target, source].

    Computed as one small product a channel, with the edges repeated, so that no operand is transposed.
    """
    repeated = jnp.broadcast_to(edges[:, None], (*x.shape[:2], *edges.shape[1:]))
    return jnp.einsum("gcvu,gcutn->gcvtn", repeated, x)


def _joints_backward(operands, gradient):
    edges, x = operands
    return _contract_trailing(gradient, x, 2).sum(1), joint_matmul(edges.swapaxes(1, 2), gradient)


joint_matmul.defvjp(lambda edges, x: (joint_matmul(edges, x), (edges, x)), _joints_backward)
