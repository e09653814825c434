"""Linear maps of the image plane on what a batch holds: joints and the vectors of optical flow; y is downwards."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from musclemap_jax.data.raw.flow import NO_MOTION
from musclemap_jax.data.skeletons.poses import normalise_poses

Map = Float[np.ndarray, "2 2"]


def map_poses(poses: Float[np.ndarray, "T P V 3"], linear: Map) -> Float[np.ndarray, "T P V 3"]:
    """The poses that the pipeline would have made of mapped joints.

    Its normalisation takes away where the person is, so the map's centre does not matter; it is done again, since
    medians of x and of y are not those of other axes.
    """
    places = poses[..., :2] @ linear.T.astype(np.float32)
    return normalise_poses(np.concatenate([places, poses[..., 2:]], axis=-1))


def map_vectors(flow: UInt8[np.ndarray, "*frames 2"], linear: Map) -> UInt8[np.ndarray, "*frames 2"]:
    """Optical flow with mapped vectors; the pixels stay where they are, and what 8 bits cannot hold is clipped."""
    vectors = flow.astype(np.float32) - NO_MOTION
    mapped = vectors @ linear.T.astype(np.float32)
    return np.clip(np.rint(mapped) + NO_MOTION, 0, 255).astype(np.uint8)
