"""Convolution over one axis, channels last, whose gradients XLA:CPU runs at the speed of its matrix products.

JAX states the gradients of a convolution with exchanged dimension numbers. XLA:CPU brings those into the one order that
it has fast code for only outside of loops: in the body of a scan over layers they take fifty times as long. Here each
is written as a convolution in that order. Values are those of JAX's gradients.

Letters of shapes: B rows, T their length, C and D channels, k taps; 2 marks the strided length.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

DIMENSION_NUMBERS = ("NWC", "WIO", "NWC")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv1d(x: Float[Array, "B T C"], kernel: Float[Array, "k C D"], stride: int) -> Float[Array, "B T2 D"]:
    """Convolves with zero padding of half the kernel on both sides; k is odd, T2 = ceil(T / stride)."""
    reach = kernel.shape[0] // 2
    return lax.conv_general_dilated(x, kernel, (stride,), [(reach, reach)], dimension_numbers=DIMENSION_NUMBERS)


def _forward(x, kernel, stride):
    return conv1d(x, kernel, stride), (x, kernel)


def _backward(stride, operands, dy):
    x, kernel = operands
    reach, length = kernel.shape[0] // 2, x.shape[1]
    unused = length - 1 - (dy.shape[1] - 1) * stride  # elements after the last window's centre
    # Elements between the windows' centres have no gradient.
    at_centres = lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), (0, unused, stride - 1), (0, 0, 0)])
    dx = conv1d(at_centres, kernel[::-1].swapaxes(1, 2), 1)
    d_kernel = lax.conv_general_dilated(
        x.transpose(2, 1, 0),
        dy.swapaxes(0, 1),
        (1,),
        [(reach, reach - unused)],
        rhs_dilation=(stride,),
        dimension_numbers=DIMENSION_NUMBERS,
    )
    return dx, d_kernel.swapaxes(0, 1)


conv1d.defvjp(_forward, _backward)
