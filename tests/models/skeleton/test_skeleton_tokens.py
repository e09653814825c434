"""Class tokens in the skeleton graph."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from scipy.special import erf, softmax

from musclemap_jax.models.layers.initializers import identity_or_orthogonal
from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.skeleton.skeleton_tokens import SkeletonTokens

NUM_TOKENS = 5
SPEC = HDGCNSpec(widths=(8, 16))
MODEL = HDGCN(SPEC, num_tokens=NUM_TOKENS, receiver=True)
WITHOUT_TOKENS = HDGCN(SPEC)


@pytest.fixture(scope="module")
def poses():
    return np.random.default_rng(0).standard_normal((2, 8, 2, 19, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def pose_valid(poses):
    return np.ones(poses.shape[:3], bool)


@pytest.fixture(scope="module")
def variables(poses, pose_valid):
    """Random variables, but `to_joints` zero as at the start."""
    shapes = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), poses, pose_valid, train=False))
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        noise = 0.3 * rng.standard_normal(leaf.shape)
        if "to_joints" in name:
            noise = np.zeros(leaf.shape)
        elif "'scale'" in name or "'var'" in name:
            noise = 1 + np.abs(noise)
        return noise.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, {name: shapes[name] for name in ("params", "batch_stats")})


@pytest.fixture(scope="module")
def evaluate(variables):
    apply = jax.jit(lambda params, poses, valid: MODEL.apply(variables | {"params": params}, poses, valid, train=False))
    return lambda poses, valid, params=variables["params"]: apply(params, poses, valid)


def test_joints_are_those_of_hdgcn_at_the_start(variables, poses, pose_valid):
    """In float64, where compiling another program does not round otherwise."""

    def unit_outputs(num_tokens, variables):
        model = HDGCN(SPEC, num_tokens, receiver=num_tokens > 0, dtype=jnp.float64)
        apply = jax.jit(functools.partial(model.apply, train=True, mutable=True))
        with jax.enable_x64(True):
            variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
            _, state = apply(variables, np.asarray(poses, np.float64), pose_valid)
            return [np.asarray(state["intermediates"][name]["unit_output"][0]) for name in ("unit01", "unit02")]

    leaves = traverse_util.flatten_dict(variables)
    without = {path: leaf for path, leaf in leaves.items() if "tokens" not in path and path[:2] != ("params", "norm")}
    without = traverse_util.unflatten_dict(without)
    for ours, theirs in zip(unit_outputs(NUM_TOKENS, variables), unit_outputs(0, without), strict=True):
        assert np.abs(theirs).max() > 0.1
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_exchange_follows_its_formula():
    rng = np.random.default_rng(2)
    tokens, joints = rng.standard_normal((3, 4, 6)), rng.standard_normal((8, 19, 5, 3))  # (BP, G, D), (D2, V, T, BP)
    module = SkeletonTokens()
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.asarray(tokens), jnp.asarray(joints)))
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), shapes["params"])
    new_tokens, new_joints = module.apply({"params": params}, jnp.float32(tokens), jnp.float32(joints))

    mean = joints.mean(2).transpose(2, 1, 0)
    logits = (tokens @ params["query"]["kernel"]) @ (mean @ params["key"]["kernel"]).swapaxes(1, 2) / np.sqrt(4)
    gathered = (params["adjacency"] + softmax(logits, axis=-1)) @ (mean @ params["value"]["kernel"])
    normalised = (gathered - gathered.mean(-1, keepdims=True)) / np.sqrt(gathered.var(-1, keepdims=True) + 1e-6)
    normalised = normalised * params["norm"]["scale"] + params["norm"]["bias"]
    gelu = normalised * (1 + erf(normalised / np.sqrt(2))) / 2
    expected_tokens = tokens @ params["keep"]["kernel"] + gelu
    message = (params["spread"] @ expected_tokens) @ params["to_joints"]["kernel"]  # (BP, V, D2)
    np.testing.assert_allclose(new_tokens, expected_tokens, atol=2e-5)
    np.testing.assert_allclose(new_joints, joints + message.transpose(2, 1, 0)[:, :, None], atol=2e-4)


def test_parameters_at_the_start():
    tokens, joints = jnp.ones((1, 4, 8)), jnp.ones((8, 19, 2, 1))
    params = jax.jit(SkeletonTokens().init)(jax.random.key(1), tokens, joints)["params"]
    np.testing.assert_allclose(params["adjacency"], 1 / 19)
    np.testing.assert_array_equal(params["keep"]["kernel"], np.eye(8))
    np.testing.assert_array_equal(params["to_joints"]["kernel"], 0)
    wider = identity_or_orthogonal(jax.random.key(1), (8, 16))
    np.testing.assert_allclose(wider @ wider.T, np.eye(8), atol=1e-5)


def test_every_unit_gives_both_sets(variables, evaluate, poses, pose_valid):
    output = evaluate(poses, pose_valid)
    widths = [(2, NUM_TOKENS, width) for width in SPEC.widths]
    assert [layer.shape for layer in output.classification] == widths
    assert [layer.shape for layer in output.receiver] == widths
    assert output.final_classification.shape == output.final_receiver.shape == (2, NUM_TOKENS, 16)
    last = np.asarray(output.classification[-1])
    normalised = (last - last.mean(-1, keepdims=True)) / np.sqrt(last.var(-1, keepdims=True) + 1e-6)
    norm = variables["params"]["norm"]
    np.testing.assert_allclose(output.final_classification, normalised * norm["scale"] + norm["bias"], atol=1e-4)


def test_receiver_tokens_come_first(variables, evaluate, poses, pose_valid):
    before = evaluate(poses, pose_valid)
    tokens = variables["params"]["tokens"].copy()
    tokens[:NUM_TOKENS] += np.random.default_rng(3).standard_normal((NUM_TOKENS, 8))
    after = evaluate(poses, pose_valid, variables["params"] | {"tokens": tokens})
    assert np.abs(after.receiver[0] - before.receiver[0]).max() > 0.1
    # While nothing returns to the joints, one set does not see the other.
    np.testing.assert_array_equal(after.final_classification, before.final_classification)


def test_an_absent_person_counts_in_no_unit(evaluate, poses, pose_valid):
    both = evaluate(poses, pose_valid)
    absent = pose_valid.copy()
    absent[1, :, 1] = False
    one = evaluate(poses, absent)
    other_poses = poses.copy()
    other_poses[1, :, 1] = 7
    again = evaluate(other_poses, absent)
    for layer, with_both, changed in zip(one.classification, both.classification, again.classification, strict=True):
        np.testing.assert_array_equal(layer[0], with_both[0])
        assert np.abs(layer[1] - with_both[1]).max() > 1e-4
        np.testing.assert_array_equal(layer, changed)
    np.testing.assert_array_equal(one.final_receiver, again.final_receiver)


def test_a_clip_without_persons_stays_finite(evaluate, poses, pose_valid):
    output = evaluate(poses, np.zeros_like(pose_valid))
    np.testing.assert_array_equal(output.classification[-1], 0)
    assert np.isfinite(output.final_classification).all()


def test_joints_learn_to_listen(variables, poses, pose_valid):
    """The zero kernels get gradients at the start, and all other parts of the exchange but `spread`."""

    def loss(params):
        output, _ = MODEL.apply(variables | {"params": params}, poses, pose_valid, train=True, mutable=["batch_stats"])
        return sum(jnp.square(layer).sum() for layer in (*output.classification, *output.receiver))

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    for name, tree in gradients["unit01"]["tokens"].items():
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))
        assert (largest > 1e-6) == (name != "spread"), name
    assert set(gradients["unit02"]["tokens"]) == set(gradients["unit01"]["tokens"]) - {"spread", "to_joints"}


def test_one_set_without_receivers(poses, pose_valid):
    model = HDGCN(SPEC, num_tokens=NUM_TOKENS)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), poses, pose_valid, train=False))
    assert shapes["params"]["tokens"].shape == (NUM_TOKENS, 8)
    variables = {name: shapes[name] for name in ("params", "batch_stats")}
    output = jax.eval_shape(lambda variables: model.apply(variables, poses, pose_valid, train=False), variables)
    assert output.receiver == ()
    assert output.final_receiver is None
    assert output.final_classification.shape == (2, NUM_TOKENS, 16)
