"""HD-GCN against the published code's numbers, and our additions to it."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.pretrained.hdgcn_names import published_arrays
from tests.models import hdgcn_goldens as goldens
from tests.models.stacking import unstack_layers

GOLDENS = goldens.load("hdgcn_ntu25")
NUM_CLASSES = 20
SMALL = HDGCNSpec(widths=(8, 16))


class TestPublishedModel:
    spec = HDGCNSpec(layout="ntu25")
    entries = published_arrays(spec)

    def loss(self, x, train, dtype):
        """Returns the loss (sum of squared logits) as a function, and its arguments: parameters, head and poses."""
        model, arrays = HDGCN(self.spec, dtype=dtype), goldens.whole_model()
        poses = x.transpose(0, 2, 4, 3, 1)
        pose_valid = np.ones(poses.shape[:3], bool)
        shapes = jax.eval_shape(lambda: HDGCN(self.spec).init(jax.random.key(0), poses, pose_valid, train=False))
        shapes = {name: shapes[name] for name in ("params", "batch_stats")}
        variables = goldens.from_published(arrays, shapes, self.entries)
        head = {"weight": arrays["fc.weight"], "bias": arrays["fc.bias"]}
        collections = ["batch_stats", "intermediates"]

        def loss(params, head, poses):
            output, state = model.apply(
                variables | {"params": params}, poses, pose_valid, train=train, mutable=collections
            )
            logits = output.final_classification[:, 0] @ head["weight"].T + head["bias"][None]
            return jnp.square(logits).sum(), (logits, state)

        return loss, (variables["params"], head, poses)

    def check_stages_and_neighbours(self, intermediates, mode):
        apart = unstack_layers(intermediates, "unit{:02d}")
        units = [apart[f"unit{unit:02d}"] for unit in range(1, 11)]
        stages = {"data_bn": np.asarray(intermediates["input_output"][0]).transpose(0, 2, 3, 4, 1)}
        for number, unit in enumerate(units, start=1):
            stages[f"l{number}.gcn1"] = goldens.to_torch(unit["graph_output"][0])
            stages[f"l{number}.tcn1"] = goldens.to_torch(unit["temporal_output"][0])
            stages[f"l{number}"] = goldens.to_torch(unit["unit_output"][0])
        for index, name in enumerate(GOLDENS["stage_names"]):
            stage, samples = stages[name].ravel(), GOLDENS[f"stage_samples_{mode}"][index]
            assert goldens.relative_error(stage[GOLDENS["stage_sample_idx"][index]], samples) < 2e-5, name
            np.testing.assert_allclose(
                [stage.mean(), stage.std()], GOLDENS[f"stage_meanstd_{mode}"][index], atol=1e-5, err_msg=name
            )
        joints = np.concatenate([np.moveaxis(unit["graph"]["edge"]["neighbours"][0], 1, 0) for unit in units])
        hierarchies = np.concatenate(
            [np.moveaxis(unit["graph"]["attention"]["edge"]["neighbours"][0], 1, 0) for unit in units[1:]]
        )
        # The closest call of all choices is 2e-6 of |x|^2, ten times float32's rounding: the choices must be equal.
        np.testing.assert_array_equal(np.sort(joints.argmax(-1), -1), GOLDENS[f"knn5_{mode}"])
        np.testing.assert_array_equal(np.sort(hierarchies.argmax(-1), -1), GOLDENS[f"knn3_{mode}"])

    @pytest.mark.parametrize("mode", ["eval", "train"])
    def test_float32_run(self, mode):
        loss, arguments = self.loss(GOLDENS["x"], mode == "train", jnp.float32)
        _, (logits, state) = jax.jit(loss)(*arguments)
        np.testing.assert_allclose(logits, GOLDENS[f"logits_{mode}"], atol=1e-4)
        np.testing.assert_allclose(logits, GOLDENS[f"logits_{mode}_f64"], atol=1e-4)
        self.check_stages_and_neighbours(state["intermediates"], mode)
        if mode == "train":
            self.check_statistics(state)

    def check_statistics(self, state):
        shapes = {entry["name"]: tuple(entry["shape"]) for entry in goldens.names()["entries"]}
        ours = traverse_util.flatten_dict({"batch_stats": state["batch_stats"]})
        statistics = {
            entry.source: goldens.to_published(entry, ours[entry.target], shapes[entry.source])
            for entry in self.entries
            if entry.target[0] == "batch_stats"
        }
        assert len(statistics) == 2 * len(GOLDENS["bn_names"])
        for index, name in enumerate(GOLDENS["bn_names"]):
            for part, key in (("running_mean", "bn_new_mean_norm"), ("running_var", "bn_new_var_norm")):
                norm = np.linalg.norm(statistics[f"{name}.{part}"].astype(np.float64))
                np.testing.assert_allclose(norm, GOLDENS[key][index], atol=1e-5, rtol=1e-6, err_msg=name)
                if f"bn/{name}.{part}" in GOLDENS:
                    np.testing.assert_allclose(statistics[f"{name}.{part}"], GOLDENS[f"bn/{name}.{part}"], atol=1e-5)

    def test_gradients(self):
        """In float64, as the stored ones: in float32 rounding moves activations over the kinks of relu and max.

        The published code's own float32 gradients are off by up to 5e-3 in norm for that reason.
        """
        loss, arguments = self.loss(GOLDENS["x"], True, jnp.float64)
        with jax.enable_x64(True):
            step = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
            (value, _), (params, head, poses) = jax.tree.map(np.asarray, step(*goldens.in_float64(arguments)))
        np.testing.assert_allclose(value, GOLDENS["loss_train_f64"], rtol=1e-8)
        ours = traverse_util.flatten_dict({"params": params})
        shapes = {entry["name"]: tuple(entry["shape"]) for entry in goldens.names()["entries"]}
        values = {
            entry.source: goldens.to_published(entry, ours[entry.target], shapes[entry.source])
            for entry in self.entries
            if entry.target[0] == "params"
        }
        values |= {f"fc.{name}": value for name, value in head.items()}
        assert set(values) == set(GOLDENS["grad_names"])
        for index, name in enumerate(GOLDENS["grad_names"]):
            value, reference = values[name], GOLDENS["grad_norm_f64"][index]
            if GOLDENS["grad_cancelled"][index]:
                assert np.linalg.norm(value) < 1e-10, name
                continue
            probe = np.random.RandomState(zlib.crc32(f"probe:{name}".encode())).standard_normal(value.shape)
            assert abs(np.linalg.norm(value) - reference) < 1e-5 * reference, name
            assert abs((value * probe).sum() - GOLDENS["grad_probe_f64"][index]) < 1e-5 * reference, name
        for key in [key for key in GOLDENS if key.startswith("grad/")]:
            assert goldens.relative_error(values[key.removeprefix("grad/")], GOLDENS[key]) < 1e-5, key
        assert goldens.relative_error(poses.transpose(0, 4, 1, 3, 2), GOLDENS["grad_x"]) < 1e-5


@pytest.mark.parametrize(
    ("layout", "num_persons", "expected"),
    # halpe26: by the difference of the others, 141,168 a hierarchy, 30 edges a hierarchy and pair of joints.
    [("ntu25", 1, 1_649_550), ("ntu25", 2, 1_649_700), ("coco19", 1, 1_297_998), ("halpe26", 1, 1_497_288)],
)
def test_number_of_parameters(layout, num_persons, expected):
    spec = HDGCNSpec(layout=layout)
    poses = np.zeros((1, 8, num_persons, spec.graph.num_joints, 3), np.float32)
    pose_valid = np.ones(poses.shape[:3], bool)
    shapes = jax.eval_shape(lambda: HDGCN(spec).init(jax.random.key(0), poses, pose_valid, train=False))
    head = spec.widths[-1] * NUM_CLASSES + NUM_CLASSES
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) + head == expected


def random_poses(num_clips, num_persons=1, num_frames=8):
    rng = np.random.default_rng(1)
    poses = rng.standard_normal((num_clips, num_frames, num_persons, 19, 3)).astype(np.float32)
    return poses, np.ones(poses.shape[:3], bool)


@pytest.fixture(scope="module")
def small_variables():
    """Random variables of the small model for two persons."""
    poses, pose_valid = random_poses(1, 2)
    shapes = jax.eval_shape(lambda: HDGCN(SMALL).init(jax.random.key(0), poses, pose_valid, train=False))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        noise = 0.3 * rng.standard_normal(leaf.shape)
        return (1 + np.abs(noise) if path[-1].key in ("scale", "var") else noise).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, {name: shapes[name] for name in ("params", "batch_stats")})


@pytest.fixture(scope="module")
def apply(small_variables):
    return jax.jit(lambda poses, valid: HDGCN(SMALL).apply(small_variables, poses, valid, train=False))


@pytest.fixture(scope="module")
def evaluate(apply):
    return lambda poses, valid: np.asarray(apply(poses, valid).final_classification)


def test_an_absent_person_has_no_weight(evaluate):
    poses, pose_valid = random_poses(2, 2)
    both = evaluate(poses, pose_valid)
    pose_valid[1, :, 1] = False
    one = evaluate(poses, pose_valid)
    np.testing.assert_array_equal(one[0], both[0])
    assert np.abs(one[1] - both[1]).max() > 1e-3
    poses[1, :, 1] = 5
    np.testing.assert_array_equal(evaluate(poses, pose_valid), one)


def test_the_mean_of_the_joints_features_is_the_pooled_one(apply):
    poses, pose_valid = random_poses(2, 2)
    pose_valid[1, :, 1] = False
    output = apply(poses, pose_valid)
    assert output.features.shape == (2, 19, SMALL.output_dim)
    pooled = output.final_classification[:, 0]
    np.testing.assert_allclose(output.features.mean(1), pooled, rtol=1e-4, atol=1e-5)


def test_a_person_seen_in_one_pose_of_eight_counts_by_it(evaluate):
    poses, pose_valid = random_poses(2, 2)
    both = evaluate(poses, pose_valid)
    pose_valid[:, 1:, 1] = False
    once = evaluate(poses, pose_valid)
    pose_valid[:, 0, 1] = False
    alone = evaluate(poses, pose_valid)
    # both = (alone + other) / 2, once = (8 alone + other) / 9
    np.testing.assert_allclose(once, (7 * alone + 2 * both) / 9, rtol=1e-5, atol=1e-6)


def test_a_clip_without_persons_gives_zero_features(evaluate):
    poses, pose_valid = random_poses(2, 2)
    pose_valid[0] = False
    features = evaluate(poses, pose_valid)
    np.testing.assert_array_equal(features[0], 0)
    assert np.abs(features[1]).max() > 0


def test_statistics_are_those_of_the_whole_batch_on_8_devices(small_variables):
    poses, pose_valid = random_poses(8, 2)

    def step(poses, pose_valid):
        output, updates = HDGCN(SMALL).apply(small_variables, poses, pose_valid, train=True, mutable=["batch_stats"])
        return output.final_classification, updates

    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))
    one_features, one_updates = jax.jit(step)(poses, pose_valid)
    placed = jax.device_put((poses, pose_valid), sharding)
    features, updates = jax.jit(step)(*placed)
    assert len(features.sharding.device_set) == 8
    np.testing.assert_allclose(features, one_features, rtol=1e-4, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), updates, one_updates)


def test_bfloat16_stays_near_float32(small_variables, evaluate):
    poses, pose_valid = random_poses(2, 2)
    apply = jax.jit(functools.partial(HDGCN(SMALL, dtype=jnp.bfloat16).apply, train=False))
    features = apply(small_variables, poses, pose_valid).final_classification
    assert features.dtype == jnp.bfloat16
    assert goldens.relative_error(features.astype(jnp.float32), evaluate(poses, pose_valid)) < 0.05


def test_stride_follows_the_width_unless_it_is_given():
    assert HDGCNSpec().strides == (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)
    assert HDGCNSpec(widths=(8, 8, 8), strided_units=(3,)).strides == (1, 1, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (64, 30)}, r"widths must be multiples of 4, got \(64, 30\)"),
        ({"widths": ()}, r"widths must be multiples of 4"),
        ({"widths": (8, 8), "strided_units": (3,)}, r"units 1 to 2, got stride 2 for units \[3\]"),
        ({"kernel_size": 4}, r"kernel size must be odd and positive, got 4"),
        ({"layout": "coco17"}, r"choose one of coco19"),
    ],
)
def test_an_impossible_spec_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        HDGCNSpec(**fields)


def test_poses_of_another_layout_are_refused():
    poses = jnp.zeros((1, 4, 1, 25, 3))
    with pytest.raises(ValueError, match=r"coco19 has 19 joints, got poses \(1, 4, 1, 25, 3\): convert"):
        HDGCN(SMALL).init(jax.random.key(0), poses, jnp.ones((1, 4, 1), bool), train=False)
