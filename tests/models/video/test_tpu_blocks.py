"""MViTv2 with its kernels of attention and MLP in interpret mode: values and gradients of the model without them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.video import pooling_attention
from musclemap_jax.models.video.mvit import MViT, MViTSpec

SPEC = MViTSpec(
    depth=4, embed_dim=32, stages=(1, 2, 3), kv_stride=(1, 4, 4), input_size=(4, 20, 12), drop_path_rate=0.5
)
KERNELS = ("flash_attention", "fused_mlp")


@pytest.fixture
def count_kernels(monkeypatch):
    """Runs the kernels as on one TPU, in interpret mode; returns how often each was called."""
    calls = dict.fromkeys(KERNELS, 0)

    def interpreted(name, kernel):
        def call(*arguments, vmem_bytes, **settings):
            assert vmem_bytes
            calls[name] += 1
            return kernel(*arguments, vmem_bytes=None, **settings)

        return call

    monkeypatch.setattr(pooling_attention, "vmem_capacity", lambda num_clips: 128 << 20)
    monkeypatch.setattr(pooling_attention, "over_clips", lambda call, arrays, shared=(): call(*arrays, *shared))
    # Its kernel has a test of its own, and takes a minute to compile in interpret mode.
    monkeypatch.setattr(pooling_attention, "grouped_depthwise_fits", lambda *arguments: False)
    for name in KERNELS:
        monkeypatch.setattr(pooling_attention, name, interpreted(name, getattr(pooling_attention, name)))
    return calls


def evaluate(params, video):
    """Features and their gradients, of parameters and video."""
    model = MViT(SPEC, num_tokens=3, receiver=True)

    def loss(params, video):
        output = model.apply({"params": params}, video, train=True, rngs={"dropout": jax.random.key(1)})
        features = [output.final_classification, output.final_receiver, output.features]
        return sum(jnp.sum(jnp.sin(3 * x.astype(jnp.float32))) for x in features), features

    (_, features), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, video)
    return jax.tree.map(lambda x: np.asarray(x, np.float32), (features, gradients))


@pytest.fixture(scope="module")
def operands():
    video = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 20, 12, 3)), jnp.float32)
    params = jax.jit(MViT(SPEC, num_tokens=3, receiver=True).init)(jax.random.key(0), video)["params"]
    noise = np.random.default_rng(1)
    params = jax.tree.map(lambda x: x + jnp.asarray(0.2 * noise.standard_normal(x.shape), x.dtype), params)
    return params, video


def test_kernels_change_neither_values_nor_gradients(operands, count_kernels, monkeypatch):
    ours = evaluate(*operands)
    assert all(count >= SPEC.depth for count in count_kernels.values())
    monkeypatch.undo()
    theirs = dict(jax.tree_util.tree_leaves_with_path(evaluate(*operands)))
    for path, value in jax.tree_util.tree_leaves_with_path(ours):
        difference, size = np.linalg.norm(value - theirs[path]), np.linalg.norm(theirs[path])
        # The keys' bias moves all logits of a query alike: its gradient is rounding alone.
        assert difference < 2e-4 * size + 1e-3, f"{jax.tree_util.keystr(path)}: {difference} of {size}"
