"""Random variables of models, and their comparison."""

import numpy as np
from flax import traverse_util

from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.pretrained.published import model_shapes

STACKED_SPEC = MViTSpec(depth=4, embed_dim=8, stages=(1,), kv_stride=(1, 2, 2), input_size=(4, 24, 16))
"""Whose blocks 2 and 3 are equal."""


def variables(model, seed=0):
    """Random variables of a model, without computing it."""
    rng = np.random.default_rng(seed)
    shapes = model_shapes(model)
    tree = traverse_util.unflatten_dict({path: rng.random(shape, np.float32) for path, shape in shapes.items()})
    return tree["params"], tree.get("batch_stats", {})


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def assert_same(left, right):
    assert flat(left).keys() == flat(right).keys()
    for name, leaf in flat(left).items():
        np.testing.assert_array_equal(leaf, flat(right)[name])
