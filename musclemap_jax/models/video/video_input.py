"""From uint8 clips to what a video branch takes, on the device.

Source: mean and deviation of PySlowFast (`DATA.MEAN`, `DATA.STD`); RGB difference, |frame t - frame t-1|, as in the
released code of TransM3E; optical flow in 8 bit, as in the two-stream networks.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

MEAN = 0.45
STD = 0.225


def normalised_rgb(video: jax.Array, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """(..., T, H, W, 3) uint8 -> the same shape, about zero mean and unit deviation."""
    return ((video.astype(jnp.float32) / 255.0 - MEAN) / STD).astype(dtype)


def normalised_flow(flow: jax.Array, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """(..., T, H, W, 2) uint8 flow, 128 for no motion -> the same shape, no motion is zero."""
    return ((flow.astype(jnp.float32) - 128.0) / (255.0 * STD)).astype(dtype)


def rgb_difference(video: jax.Array, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """|frame t - frame t-1| of (..., T, H, W, 3) uint8 clips, in units of the deviation; the first frame is zero."""
    frames = video.astype(jnp.float32)
    later = jnp.abs(frames[..., 1:, :, :, :] - frames[..., :-1, :, :, :]) / (255.0 * STD)
    return jnp.concatenate([jnp.zeros_like(frames[..., :1, :, :, :]), later], axis=-4).astype(dtype)
