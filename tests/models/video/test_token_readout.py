"""Class tokens that read the stages of a network without tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from musclemap_jax.models.video.resnet import ResNet
from musclemap_jax.models.video.resnet_spec import ResNetSpec
from musclemap_jax.models.video.swin import Swin, SwinSpec
from musclemap_jax.models.video.token_readout import StageReadout
from tests.models import goldens

SWIN = SwinSpec(embed_dim=8, depths=(2, 1), num_heads=(1, 2), window_size=(2, 4, 4), drop_path_rate=0.0)
SLOWFAST = ResNetSpec(
    width=8, depths=(1, 1), kernels=((1,), (1,), (3,)), fast_kernels=((5,), (3,), (3,)), beta_inv=2, fusion_kernel=3
)
NETWORKS = {"swin": functools.partial(Swin, SWIN), "slowfast": functools.partial(ResNet, SLOWFAST)}
M = 3


@functools.cache
def variables(name):
    """Random variables of a network with two sets of tokens, and a clip."""
    module, video = NETWORKS[name](M, True), np.random.default_rng(0).standard_normal((2, 4, 20, 16, 3), np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), video)
    drawn = {"params": goldens.random_parameters(module, video)}
    if "batch_stats" in shapes:
        drawn["batch_stats"] = jax.tree_util.tree_map_with_path(
            lambda path, leaf: np.full(leaf.shape, path[-1].key == "var", np.float32), shapes["batch_stats"]
        )
    return drawn, video


def drop(tree):
    """Without what is there for class tokens."""
    return {part: leaf for part, leaf in tree.items() if part != "readout"}


def test_reading_follows_its_formula():
    rng = np.random.default_rng(1)
    tokens, features = rng.standard_normal((2, 4, 6)), rng.standard_normal((2, 2, 3, 2, 8))
    module = StageReadout()
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.asarray(tokens), jnp.asarray(features)))
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), shapes["params"])
    ours = module.apply({"params": params}, jnp.float32(tokens), jnp.float32(features))

    def normed(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * params[name]["scale"] + params[name]["bias"]

    positions = normed(features.reshape(2, -1, 8), "feature_norm")
    kept = tokens @ params["keep"]["kernel"]
    logits = normed(kept, "token_norm") @ params["query"]["kernel"] @ positions.swapaxes(1, 2) / np.sqrt(8)
    expected = kept + softmax(logits, axis=-1) @ positions @ params["value"]["kernel"]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_change_nothing_in_the_network(name):
    given, video = variables(name)
    without = {collection: drop(tree) for collection, tree in given.items()}

    def stages(num_tokens, variables):
        module = NETWORKS[name](num_tokens, num_tokens > 0)
        _, state = jax.jit(functools.partial(module.apply, mutable=["intermediates"]))(variables, video)
        return jax.tree.leaves(state["intermediates"]["stage_output"])

    shapes = jax.eval_shape(NETWORKS[name](0, False).init, jax.random.key(0), video)
    assert jax.tree.map(jnp.shape, shapes["params"]) == jax.tree.map(jnp.shape, without["params"])
    for ours, published in zip(stages(M, given), stages(0, without), strict=True):
        assert np.abs(published).max() > 0.01
        goldens.assert_close(ours, published, 1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_features_of_attentive_pooling_are_those_that_the_published_head_averages(name):
    given, video = variables(name)
    published = jax.jit(NETWORKS[name](0, False).apply)({key: drop(tree) for key, tree in given.items()}, video)
    goldens.assert_close(published.features.mean(1, keepdims=True), published.final_classification, 1e-5)
    assert np.abs(published.features[:, 0] - published.features[:, 1]).max() > 1e-3
    ours = jax.jit(NETWORKS[name](M, True).apply)(given, video)
    goldens.assert_close(ours.features, published.features, 1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stage_gives_both_sets_and_every_parameter_learns(name):
    given, video = variables(name)
    module = NETWORKS[name](M, True)

    @jax.jit
    def run(params):
        def loss(params):
            output = module.apply(given | {"params": params}, video)
            return sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(output)), output

        return jax.grad(loss, has_aux=True)(params)

    gradients, output = run(given["params"])
    widths = [8, 16] if name == "swin" else [48, 96]
    assert [layer.shape for layer in output.classification] == [(2, M, width) for width in widths]
    assert [layer.shape for layer in output.receiver] == [(2, M, width) for width in widths]
    assert output.final_receiver.shape == output.final_classification.shape == (2, M, widths[-1])
    assert np.abs(output.classification[-1][0] - output.classification[-1][1]).max() > 1e-4  # clips differ
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        # The bias of keys shifts all logits of a query alike.
        assert np.abs(leaf).max() > 0, name
