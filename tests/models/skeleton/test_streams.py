"""Input streams: pyskl's numbers, values by hand, gradients, absent joints; and how they enter HD-GCN."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from musclemap_jax.biomechanics.channels import CHANNELS
from musclemap_jax.models.skeleton.graph import SkeletonGraph, skeleton_graph
from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.skeleton.streams import STREAMS, to_next
from musclemap_jax.skeleton_layouts import LAYOUTS
from tests.models import goldens

GRAPH = skeleton_graph("coco19")
NAMES = LAYOUTS["coco19"].joints
COMPUTED = [name for name in STREAMS if name != "joint"]
SMALL = HDGCNSpec(widths=(8, 16))
ALL = dataclasses.replace(SMALL, streams=tuple(STREAMS))


@dataclasses.dataclass(frozen=True)
class PysklGraph(SkeletonGraph):
    """COCO's joints with pyskl's pairs of joints."""

    @property
    def parents(self):
        return tuple(goldens.load("skeleton_streams")["parents"].tolist())


def random_poses(num_clips=2, num_frames=6, num_persons=2, seed=0):
    """(B, T, P, V, 3) people of about the normalised size; a tenth of the joints and one person are absent."""
    rng = np.random.default_rng(seed)
    shape = (num_clips, num_frames, num_persons, len(NAMES))
    places = np.linspace(-1, 1, 2 * len(NAMES)).reshape(len(NAMES), 2)
    places = np.broadcast_to(places, (*shape, 2)) + 0.3 * rng.standard_normal((*shape, 2))
    poses = np.concatenate([places, rng.uniform(0.3, 1, (*shape, 1))], axis=-1)
    absent = rng.uniform(size=(*shape, 1)) < 0.1
    absent[0, :, -1] = True
    return np.where(absent, 0, poses).astype(np.float32)


@functools.partial(jax.jit, static_argnums=(0, 2))
def compute(name, poses, graph=GRAPH):
    return STREAMS[name].compute(poses, graph)


@pytest.mark.parametrize(("stream", "published"), [("bone", "b"), ("motion", "jm"), ("bone_motion", "bm")])
def test_streams_are_those_of_pyskl(stream, published):
    arrays = goldens.load("skeleton_streams")
    poses = arrays["j"].swapaxes(0, 1)[None]  # pyskl has the persons first
    values, valid = compute(stream, poses, PysklGraph("coco17", "nose", 17, ((0,),)))
    expected = arrays[published].swapaxes(0, 1)[None]
    assert np.mean(valid) > 0.5
    np.testing.assert_allclose(values, np.where(valid, expected, 0), atol=1e-6)


def test_a_bone_leads_from_the_parent_and_has_the_mean_score():
    poses = np.zeros((1, 1, 1, 19, 3), np.float32)
    poses[..., NAMES.index("left_elbow"), :] = 0.5, -0.25, 0.8
    poses[..., NAMES.index("left_shoulder"), :] = 0.25, 1.0, 0.4
    poses[..., NAMES.index("neck"), :] = 0.0, 1.25, 1.0
    values, valid = (array[0, 0, 0] for array in compute("bone", poses))
    np.testing.assert_allclose(values[NAMES.index("left_elbow")], [0.25, -1.25, 0.6], atol=1e-6)
    np.testing.assert_allclose(values[NAMES.index("left_shoulder")], [0.25, -0.25, 0.7], atol=1e-6)
    np.testing.assert_allclose(values[NAMES.index("neck")], [0, 0, 1])
    assert valid.any(-1).sum() == 3


def test_motion_is_the_difference_to_the_next_pose_and_the_last_has_none():
    poses = np.ones((1, 3, 1, 19, 3), np.float32)
    poses[0, :, 0, 4, 0] = 1, 3, 6
    poses[0, 2, 0, 5] = 0  # absent at the end
    values, valid = compute("motion", poses)
    np.testing.assert_array_equal(values[0, :, 0, 4], [[2, 0, 1], [3, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(valid[0, :, 0, 5].any(-1), [True, False, False])
    np.testing.assert_array_equal(to_next(poses).values, values)


def test_biomechanical_speeds_are_per_clip_whatever_the_number_of_poses():
    def speeds(num_poses):
        poses = np.repeat(random_poses(num_frames=1), num_poses, axis=1)
        rise = 0.9 * (np.arange(num_poses) + 0.5) / num_poses  # poses are the middles of equal parts of the clip
        poses[..., 1] -= np.where(poses[..., 2] > 0, rise[None, :, None, None], 0)
        values, valid = (array[..., CHANNELS.index("mass_speed_up")] for array in compute("biomechanics", poses))
        return values[valid]

    many, few = speeds(9), speeds(5)
    assert many.min() > 0.3
    np.testing.assert_allclose([many.min(), many.max()], [few.min(), few.max()], rtol=1e-4)


@pytest.mark.parametrize("name", COMPUTED)
def test_what_stands_in_an_absent_joint_counts_for_nothing(name):
    poses = random_poses()
    absent = poses[..., 2:] == 0
    expected = compute(name, poses)
    values, valid = compute(name, np.where(absent & (np.arange(3) < 2), np.float32(np.nan), poses))
    np.testing.assert_array_equal(valid, expected.valid)
    np.testing.assert_array_equal(values, expected.values)
    assert not valid[np.broadcast_to(absent, (*absent.shape[:-1], values.shape[-1]))].any()
    assert not values[~valid].any()
    assert valid.any((0, 1, 2, 3)).all()


@pytest.mark.parametrize("name", STREAMS)
def test_gradients_are_those_of_finite_differences(name):
    with jax.enable_x64(True):
        poses = random_poses(num_clips=1).astype(np.float64)
        weights = np.random.default_rng(1).standard_normal((1, 6, 2, 19, STREAMS[name].num_channels))
        present = poses[..., 2:] > 0

        @jax.jit
        def loss(change):
            moved = poses + jnp.where(present, change, 0.0)
            return jnp.sum(compute(name, moved).values * weights)

        check_grads(loss, (np.zeros_like(poses),), order=1, modes=["rev"], rtol=1e-4, eps=1e-6)


@pytest.mark.parametrize("name", STREAMS)
def test_gradients_are_finite_where_joints_coincide_and_nobody_is_there(name):
    poses = random_poses()
    poses[1, :, 0, :, :2] = 0.25  # a person in one point
    poses[1, :, 1] = 0
    gradient = np.asarray(jax.jit(jax.grad(lambda x: jnp.square(compute(name, x).values).sum()))(poses))
    assert np.isfinite(gradient).all()
    assert not gradient[1, :, 1].any()


def shapes(spec, poses, **options):
    valid = poses[..., 2].any(-1)
    tree = jax.eval_shape(lambda: HDGCN(spec, **options).init(jax.random.key(0), poses, valid, train=False))
    return {name: tree[name] for name in ("params", "batch_stats")}


def random_variables(spec, poses, seed=0):
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        noise = 0.3 * rng.standard_normal(leaf.shape)
        return (1 + np.abs(noise) if path[-1].key in ("scale", "var") else noise).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes(spec, poses))


def merged(new, old):
    """`new` with the leaves that `old` has too taken from it."""
    flat, known = (traverse_util.flatten_dict(tree, sep="/") for tree in (new, old))
    assert known.keys() <= flat.keys()
    return traverse_util.unflatten_dict(flat | known, sep="/")


@functools.cache
def with_and_without():
    """Poses, variables of the published network, and the same in a network that has just got all other streams."""
    poses = random_poses()
    published = random_variables(SMALL, poses)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes(ALL, poses))
    drawn = traverse_util.flatten_dict(random_variables(ALL, poses), sep="/")
    fresh = {name: drawn[name] for name in drawn if "stream_" in name and not name.endswith("kernel")}
    more = merged(zeros, traverse_util.unflatten_dict(fresh, sep="/"))
    return poses, published, merged(more, published)


def test_additional_streams_have_parameters_beside_the_published_ones_which_start_at_zero():
    poses = random_poses(num_frames=2)
    initial = jax.jit(lambda: HDGCN(ALL).init(jax.random.key(0), poses, poses[..., 2].any(-1), train=False))()
    flat = traverse_util.flatten_dict(initial, sep="/")
    before = traverse_util.flatten_dict(shapes(SMALL, poses), sep="/")
    assert {name: flat[name].shape for name in before} == {name: leaf.shape for name, leaf in before.items()}
    new = {name: leaf for name, leaf in flat.items() if name not in before and not name.startswith("intermediates")}
    kernels = {name: leaf.shape for name, leaf in new.items() if name.endswith("kernel")}
    graph = "params/unit01/graph"
    assert kernels == {
        f"{graph}/{place}": shape
        for name in COMPUTED
        for place, shape in (
            (f"stream_{name}_down_kernel", (4, STREAMS[name].num_channels, 2)),
            (f"shortcut/stream_{name}_kernel", (STREAMS[name].num_channels, 8)),
        )
    }
    assert not any(new[name].any() for name in kernels)
    norms = {name.split("/")[1] for name in new if name not in kernels}
    assert norms == {f"stream_{name}_norm" for name in COMPUTED}


@pytest.mark.parametrize("train", [False, True])
def test_a_new_stream_changes_nothing_at_first_and_is_learned(train):
    poses, published, more = with_and_without()
    valid = poses[..., 2].any(-1)

    def loss(params, spec, variables):
        output, _ = HDGCN(spec).apply(
            variables | {"params": params}, poses, valid, train=train, mutable=["batch_stats"]
        )
        return jnp.square(output.final_classification).sum()

    step = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    expected, gradient_before = step(published["params"], SMALL, published)
    value, gradient = step(more["params"], ALL, more)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    flat = traverse_util.flatten_dict(gradient, sep="/")
    for name, leaf in traverse_util.flatten_dict(gradient_before, sep="/").items():
        np.testing.assert_allclose(flat[name], leaf, rtol=1e-4, atol=1e-4, err_msg=name)
    for name, leaf in flat.items():
        if "stream_" in name:
            assert np.abs(leaf).max() > 0 if name.endswith("kernel") else not leaf.any(), name


def test_the_first_stream_takes_the_published_place():
    """A network on bones is the published one on poses that are bones."""
    poses, published, _ = with_and_without()
    bones = compute("bone", poses).values
    valid = poses[..., 2].any(-1)
    spec = dataclasses.replace(SMALL, streams=("bone",))
    evaluate = jax.jit(lambda spec, poses: HDGCN(spec).apply(published, poses, valid, train=False), static_argnums=0)
    of_bones = evaluate(SMALL, bones).final_classification
    np.testing.assert_allclose(evaluate(spec, poses).final_classification, of_bones, rtol=1e-5, atol=1e-6)
    assert shapes(spec, poses) == shapes(SMALL, poses)


def test_channels_of_absent_joints_reach_the_network_as_zeros():
    """Also where the batch norm of a stream moves zero elsewhere."""
    poses, _, _ = with_and_without()
    spec = dataclasses.replace(SMALL, streams=("bone", "motion"))
    variables = random_variables(spec, poses)
    variables["params"]["unit01"]["graph"] |= {"down_kernel": np.zeros((4, 3, 2), np.float32)}
    variables["params"]["unit01"]["graph"]["shortcut"] |= {"kernel": np.zeros((3, 8), np.float32)}
    evaluate = jax.jit(lambda poses: HDGCN(spec).apply(variables, poses, np.ones(poses.shape[:3], bool), train=False))
    nobody = evaluate(np.zeros_like(poses)).final_classification
    one_pose = np.where(np.arange(6)[None, :, None, None, None] == 3, poses, 0)  # nothing moves
    np.testing.assert_array_equal(evaluate(one_pose).final_classification, nobody)
    assert np.abs(evaluate(poses).final_classification - nobody).max() > 1e-3


def test_streams_of_a_sharded_batch_are_those_of_one_device():
    poses = random_poses(num_clips=8, num_persons=1)
    variables = random_variables(ALL, poses)

    def step(poses):
        valid = poses[..., 2].any(-1)
        output, updates = HDGCN(ALL).apply(variables, poses, valid, train=True, mutable=["batch_stats"])
        return output.final_classification, updates

    step = jax.jit(step)
    one, one_updates = step(poses)
    many, updates = step(jax.device_put(poses, NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))))
    assert len(many.sharding.device_set) == 8
    np.testing.assert_allclose(many, one, rtol=1e-3, atol=1e-3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), updates, one_updates)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"streams": ("bones",)},
            r"different ones of joint, bone, motion, bone_motion, biomechanics, got \('bones',\)",
        ),
        ({"streams": ()}, r"streams: expected one or several different ones"),
        ({"streams": ("bone", "bone")}, r"got \('bone', 'bone'\)"),
        ({"streams": ("joint", "bone"), "layout": "ntu25"}, r"ntu25 has no names of joints: choose one of coco19"),
    ],
)
def test_an_impossible_choice_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        HDGCNSpec(**fields)
