"""Products that mix channels or joints of arrays with channels first, with their gradients written out.

The gradients that JAX derives for these einsums end in transposes of the large operand; written out, each is one
product in place. Values and gradients are those of the plain einsums.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def _sum_products(a: jax.Array, b: jax.Array, num_groups: int) -> jax.Array:
    """Products of (groups..., A, ...) and (groups..., B, ...) summed over the last axes: (groups..., A, B).

    The axes are summed in the order in which they lie, which einsum does not keep: no copies to reorder them.
    """
    groups, summed = tuple(range(num_groups)), tuple(range(num_groups + 1, a.ndim))
    return lax.dot_general(a, b, ((summed, summed), (groups, groups)))


@jax.custom_vjp
def channel_matmul(kernel: jax.Array, x: jax.Array) -> jax.Array:
    """Maps channels (C, ...) to (C', ...) by a kernel (C, C'); or (G, C, ...) to (G, C', ...) by one for each group."""
    group = "g" * (kernel.ndim - 2)
    return jnp.einsum(f"{group}cd,{group}c...->{group}d...", kernel, x)


def _channels_forward(kernel: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return channel_matmul(kernel, x), (kernel, x)


def _channels_backward(operands: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    kernel, x = operands
    group = "g" * (kernel.ndim - 2)
    # XLA:CPU transposes the second operand in memory: it had better be the smaller one.
    if x.size < gradient.size:
        by_kernel = _sum_products(gradient, x, kernel.ndim - 2).swapaxes(-1, -2)
    else:
        by_kernel = _sum_products(x, gradient, kernel.ndim - 2)
    return by_kernel, jnp.einsum(f"{group}cd,{group}d...->{group}c...", kernel, gradient)


channel_matmul.defvjp(_channels_forward, _channels_backward)


@jax.custom_vjp
def mix_joints(edges: jax.Array, x: jax.Array) -> jax.Array:
    """Sums over source joints: edges (G, V, V'), target first, and x (G, C, V', T, N) to (G, C, V, T, N).

    Done as one small product a channel with the edges repeated, so that every operand stays in its place.
    """
    return jnp.einsum("gcvu,gcutn->gcvtn", _repeat(edges, x.shape[1]), x)


def _repeat(edges: jax.Array, num_channels: int) -> jax.Array:
    return jnp.broadcast_to(edges[:, None], (edges.shape[0], num_channels, *edges.shape[1:]))


def _joints_forward(edges: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return mix_joints(edges, x), (edges, x)


def _joints_backward(operands: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    edges, x = operands
    by_edges = _sum_products(gradient, x, 2).sum(1)
    return by_edges, mix_joints(edges.swapaxes(1, 2), gradient)


mix_joints.defvjp(_joints_forward, _joints_backward)
