"""What a video branch makes of uint8 clips, on the device, in float32.

Source: mean and deviation of PySlowFast (`DATA.MEAN`, `DATA.STD`), and of ImageNet for Video Swin (torchvision); RGB
difference, |frame t - frame t-1|, as in the released code of TransM3E; optical flow in 8 bit, as in the two-stream
networks.

Letters of shapes: T H W frames and pixels.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

MEAN = 0.45
STD = 0.225

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalised_rgb(video: UInt8[Array, "*views T H W 3"]) -> Float[Array, "*views T H W 3"]:
    """RGB of about zero mean and unit deviation."""
    return (video.astype(jnp.float32) / 255.0 - MEAN) / STD


def imagenet_rgb(video: UInt8[Array, "*views T H W 3"]) -> Float[Array, "*views T H W 3"]:
    """RGB of about zero mean and unit deviation in each colour."""
    shape = (1,) * (video.ndim - 1) + (3,)
    mean, std = (jnp.asarray(values, jnp.float32).reshape(shape) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (video.astype(jnp.float32) / 255.0 - mean) / std


def normalised_flow(flow: UInt8[Array, "*views T H W 2"]) -> Float[Array, "*views T H W 2"]:
    """Optical flow, from 128 for no motion to zero for no motion."""
    return (flow.astype(jnp.float32) - 128.0) / (255.0 * STD)


def rgb_difference(video: UInt8[Array, "*views T H W 3"]) -> Float[Array, "*views T H W 3"]:
    """|frame t - frame t-1|, in units of the deviation; the first frame is zero."""
    frames = video.astype(jnp.float32)
    later = jnp.abs(frames[..., 1:, :, :, :] - frames[..., :-1, :, :, :]) / (255.0 * STD)
    return jnp.concatenate([jnp.zeros_like(frames[..., :1, :, :, :]), later], axis=-4)
