"""MCTF and CLS-Fusion against the published code, in both forms; the alternatives by hand."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.fusion import FUSIONS, MCTF, AttentivePooling, CLSFusion
from tests.models import goldens

FORWARD, GRADIENT = 2e-5, 1e-4
SUFFIX = {True: "", False: "_noscramble"}


@pytest.mark.parametrize("released", [True, False])
def test_cls_fusion_equals_the_published_one(released):
    golden = goldens.load("mctf_tiny")
    params = goldens.to_flax(goldens.under(golden, "clsfusion_p/"))
    module = CLSFusion(released_reshape=released)
    assert module.scale == pytest.approx(float(golden["clsfusion_scale"]))
    ours = jax.jit(module.apply)({"params": params}, golden["token1"], golden["token2"])
    goldens.assert_close(ours, golden["clsfusion_out" + SUFFIX[released]], FORWARD)


@pytest.mark.parametrize("released", [True, False])
def test_mctf_equals_the_published_one(released):
    golden = goldens.load("mctf_tiny")
    params = goldens.to_flax(goldens.under(golden, "mctf_p/"))
    module = MCTF(released_reshape=released)

    @jax.jit
    def apply(params, classification, receiver):
        return module.apply({"params": params}, classification, receiver, capture_intermediates=True)

    ours, state = apply(params, golden["token2"], golden["token1"])
    goldens.assert_close(ours, golden["mctf_out" + SUFFIX[released]], FORWARD)
    assert module.scale is None
    assert golden["token1"].shape[-1] ** -0.5 == pytest.approx(float(golden["mctf_scale"]))
    if released:
        for name, value in goldens.under(golden, "mctf_aux/").items():
            (inner,) = jax.tree.leaves(state["intermediates"][name]["__call__"])
            goldens.assert_close(inner, value, FORWARD, name)


def test_mctf_gradients_equal_the_published_ones():
    golden = goldens.load("mctf_tiny")
    params = goldens.to_flax(goldens.under(golden, "mctf_p/"))
    module = MCTF(released_reshape=True)

    def loss(params, receiver, classification):
        return jnp.sum(golden["mctf_w"] * module.apply({"params": params}, classification, receiver))

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(params, golden["token1"], golden["token2"])
    expected = goldens.under(golden, "mctf_g/")
    goldens.assert_close(gradients[1], expected.pop("@token1"), GRADIENT, "receiver")
    goldens.assert_close(gradients[2], expected.pop("@token2"), GRADIENT, "classification")
    goldens.assert_trees_close(gradients[0], goldens.to_flax(expected), GRADIENT)


def tokens():
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.standard_normal((2, 5, 4)), jnp.float32) for _ in range(2))


def test_parameterless_kinds_by_hand():
    classification, receiver = tokens()
    for kind, expected in (
        ("none", classification),
        ("sum", classification + receiver),
        ("multiply", classification * receiver),
    ):
        ours = FUSIONS[kind]().apply({}, classification, receiver)
        np.testing.assert_allclose(ours, expected.mean(axis=1), rtol=1e-6, err_msg=kind)


def test_by_region_keeps_the_tokens_apart():
    classification, receiver = tokens()
    both = FUSIONS["by_region"]().apply({}, classification, receiver)
    np.testing.assert_allclose(both, (classification + receiver) / 2, rtol=1e-6)
    np.testing.assert_array_equal(FUSIONS["by_region"]().apply({}, classification, None), classification)


@pytest.mark.parametrize("kind", FUSIONS)
def test_every_kind_reads_both_sets_and_only_its_own_clip(kind):
    classification, receiver = tokens()
    module = FUSIONS[kind]()
    features = {"features": jnp.ones((2, 3, 4))} if module.reads_features else {}
    variables = {"params": goldens.random_parameters(module, classification, receiver, **features)}

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def slopes_of_first_clip(classification, receiver):
        return jnp.sum(module.apply(variables, classification, receiver, **features)[0] ** 2)

    slopes = slopes_of_first_clip(classification, receiver)
    for name, slope, read in zip(("classification", "receiver"), slopes, (True, kind != "none"), strict=True):
        assert np.any(slope[0] != 0) == read, name
        assert not np.any(slope[1] != 0), name


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def test_attentive_pooling_by_hand():
    """One query with two heads of 64 over receiver tokens, classification tokens and features, then an MLP."""
    rng = np.random.default_rng(0)
    receiver, classification, features = (rng.standard_normal((2, n, 128)).astype(np.float32) for n in (3, 3, 5))
    module = AttentivePooling(mlp_ratio=1.0)
    params = goldens.random_parameters(module, classification, receiver, features=features)
    ours = jax.jit(module.apply)({"params": params}, classification, receiver, features=features)

    def linear(name, x):
        return np.einsum("bnd,dhc->bhnc", x, params["attn"][name]["kernel"]) + params["attn"][name]["bias"][:, None]

    def norm(name, x):
        return layer_norm(x) * params[name]["scale"] + params[name]["bias"]

    keys = norm("norm_keys", np.concatenate([receiver, classification, features], axis=1))
    query = np.broadcast_to(params["query"], (2, 1, 128))
    logits = linear("query", query) @ linear("key", keys).swapaxes(2, 3) / 8
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    heads = weights / weights.sum(-1, keepdims=True) @ linear("value", keys)
    pooled = query + np.einsum("bhnc,hcd->bnd", heads, params["attn"]["out"]["kernel"]) + params["attn"]["out"]["bias"]
    first, second = params["mlp"]["fc1"], params["mlp"]["fc2"]
    hidden = norm("norm", pooled) @ first["kernel"] + first["bias"]
    hidden = hidden * np.vectorize(lambda h: 0.5 * (1 + math.erf(h / math.sqrt(2))))(hidden)
    expected = pooled + hidden @ second["kernel"] + second["bias"]
    np.testing.assert_allclose(ours, expected[:, 0], rtol=1e-3, atol=1e-4)


def test_attentive_pooling_needs_features():
    classification, receiver = tokens()
    with pytest.raises(UserError, match="attentive pooling reads patches or joints, which a branch's backbone"):
        AttentivePooling().init(jax.random.key(0), classification, receiver)


def test_stochastic_depth_falls_back_on_the_mean_of_both_sets():
    classification, receiver = (jnp.tile(part[:1], (64, 1, 1)) for part in tokens())
    module = MCTF(drop_path_rate=0.5)
    variables = {"params": goldens.random_parameters(module, classification, receiver)}
    apply = jax.jit(functools.partial(module.apply, train=True))
    y = apply(variables, classification, receiver, rngs={"dropout": jax.random.key(1)})
    mean = ((classification + receiver) / 2).mean(axis=1)
    dropped = np.isclose(y, mean, atol=1e-6).all(axis=1)
    assert 16 < dropped.sum() < 48


def test_a_missing_receiver_set_is_refused():
    classification, _ = tokens()
    for kind in FUSIONS:
        if kind not in ("none", "attentive", "by_region"):
            with pytest.raises(UserError, match="expected a receiver set"):
                FUSIONS[kind]().init(jax.random.key(0), classification, None)
