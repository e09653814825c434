"""Models with random weights, and gradients by finite differences."""

import jax
import numpy as np
import pytest

from musclemap_jax.models.transm3e import TransM3E


@pytest.fixture(scope="session")
def explained(tiny_batch):
    """A function (model spec) -> (module, variables, batch of two clips): random parameters, plain statistics."""

    def make(spec, num_views=1, scale=0.3):
        module, batch = TransM3E(spec), tiny_batch(2, num_views)
        batch = {name: batch[name] for name in ("video", "skeleton", "skeleton_valid")}
        one_view = batch | {"video": batch["video"][:, :1]}
        shapes = jax.eval_shape(lambda key: module.init(key, one_view, train=False, distil=True), jax.random.key(0))
        rng = np.random.default_rng(5)

        def draw(leaf):
            return np.float32(scale) * rng.standard_normal(leaf.shape, np.float32)

        statistics = jax.tree_util.tree_map_with_path(
            lambda path, leaf: np.full(leaf.shape, path[-1].key == "var", np.float32), shapes.get("batch_stats", {})
        )
        return module, {"params": jax.tree.map(draw, shapes["params"]), "batch_stats": statistics}, batch

    return make
