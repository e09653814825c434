"""Tests of HD-GCN against the published code's numbers, and of what we add to it."""

import dataclasses
import functools
import gzip
import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from musclemap_jax.models.edge_conv import nearest_one_hot
from musclemap_jax.models.graph import skeleton_graph
from musclemap_jax.models.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.hdgcn_names import (
    from_published,
    graph_conv_arrays,
    published_arrays,
    temporal_conv_arrays,
)
from musclemap_jax.models.hierarchical_conv import HierarchicalGraphConv
from musclemap_jax.models.temporal_conv import MultiScaleTemporalConv

GOLDENS = Path(__file__).parent.parent / "data" / "goldens" / "hdgcn"
NUM_CLASSES = 20
QUICK_COMPILATION = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
SMALL = HDGCNSpec(widths=(8, 16))


def relative_error(value, reference):
    """Largest difference over the reference's largest value."""
    return np.abs(np.asarray(value, np.float64) - reference).max() / np.abs(reference).max()


def to_ours(array):
    """(N, C, T, V) of torch to our (C, V, T, N)."""
    return np.ascontiguousarray(array.transpose(1, 3, 2, 0))


def to_torch(array):
    """Our (C, V, T, N) to torch's (N, C, T, V)."""
    return np.asarray(array).transpose(3, 0, 2, 1)


# One graph convolution and one temporal convolution.


@pytest.fixture(scope="module")
def tiny():
    with np.load(GOLDENS / "hdgcn_tiny.npz") as goldens:
        return dict(goldens)


def unpack(tiny, prefix):
    """Returns {name: array} of a packed group."""
    arrays, offset = {}, 0
    for name, shape in json.loads(str(tiny[prefix + "index"])):
        size = int(np.prod(shape))
        arrays[name] = tiny[prefix + "flat"][offset : offset + size].reshape(shape)
        offset += size
    return arrays


def strip(entries, prefix):
    return [dataclasses.replace(entry, name=entry.name.removeprefix(prefix)) for entry in entries]


def published(entries, tree, arrays):
    """Yields (name, ours, reference) of all arrays of a published group that our tree holds."""
    ours = traverse_util.flatten_dict(tree)
    by_name = {entry.name: entry for entry in entries}
    for name, reference in arrays.items():
        entry = by_name[name]
        yield name, entry.to_published(ours[entry.path], reference.shape), reference


def in_float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def train_gradients(module, variables, x):
    """Gradients of the sum of squares by parameters and input in training, computed in float64.

    Through a batch norm that sum barely depends on the input, so float32 leaves two digits of these gradients.
    """

    def loss(params, x):
        y, _ = module.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.square(y).sum()

    with jax.enable_x64(True):
        variables = in_float64(variables)
        step = jax.jit(jax.grad(loss, (0, 1)), compiler_options=QUICK_COMPILATION)
        params, inputs = step(variables["params"], in_float64(x))
    return {"params": params}, inputs


def init_shapes(module, x):
    return jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=False))


def check_new_statistics(entries, updates, arrays):
    for name, ours, reference in published(entries, updates, arrays):
        np.testing.assert_allclose(ours, reference, atol=1e-5, err_msg=name)


def check_gradients(entries, gradients, arrays):
    for name, ours, reference in published(entries, gradients, arrays):
        np.testing.assert_allclose(ours, reference, rtol=1e-6, atol=1e-6, err_msg=name)


class TestGraphConv:
    graph = skeleton_graph("ntu25")
    entries = strip(graph_conv_arrays("g", (), 6, attention=True, shortcut=True), "g.")

    @pytest.fixture
    def x(self, tiny):
        return to_ours(tiny["gcn/x"])

    @pytest.fixture
    def variables(self, tiny, x):
        shapes = init_shapes(HierarchicalGraphConv(self.graph, 16), x)
        return from_published(unpack(tiny, "gcn/param/"), shapes, self.entries)

    @pytest.mark.parametrize("mode", ["eval", "train"])
    def test_equals_the_published(self, tiny, x, variables, mode):
        module = HierarchicalGraphConv(self.graph, 16)
        collections = ["intermediates", "batch_stats"]
        apply = functools.partial(module.apply, train=mode == "train", mutable=collections)
        y, state = jax.jit(apply, compiler_options=QUICK_COMPILATION)(variables, x)
        assert relative_error(to_torch(y), tiny[f"gcn/{mode}/out"]) < 5e-6
        neighbours = state["intermediates"]["edge"]["neighbours"][0].argmax(-1)  # (N, L, V, k)
        np.testing.assert_array_equal(np.sort(neighbours.swapaxes(0, 1), -1), np.sort(tiny[f"gcn/{mode}/knn"], -1))
        neighbours = state["intermediates"]["attention"]["edge"]["neighbours"][0][:, 0].argmax(-1)
        np.testing.assert_array_equal(np.sort(neighbours, -1), np.sort(tiny[f"gcn/{mode}/aha_knn"], -1))
        if mode == "train":
            check_new_statistics(self.entries, state, unpack(tiny, "gcn/train/new/"))

    def test_gradients_equal_the_published(self, tiny, x, variables):
        module = HierarchicalGraphConv(self.graph, 16, dtype=jnp.float64)
        gradients, input_gradient = train_gradients(module, variables, x)
        assert relative_error(to_torch(input_gradient), tiny["gcn/train/grad_x"]) < 1e-6
        check_gradients(self.entries, gradients, unpack(tiny, "gcn/train/grad/"))
        adjacency = np.asarray(gradients["params"]["adjacency"])
        assert relative_error(adjacency[0], tiny["gcn/train/grad_PA_layer0"]) < 1e-6
        assert abs(np.linalg.norm(adjacency) / tiny["gcn/train/grad_PA_norm"] - 1) < 1e-6


@pytest.mark.parametrize("stride", [1, 2])
class TestTemporalConv:
    entries = strip(temporal_conv_arrays("t", ()), "t.")

    @pytest.mark.parametrize("num_frames", [8, 9])
    def test_equals_the_published(self, tiny, stride, num_frames):
        group, length = f"tcn{stride}/", f"tcn{stride}/T{num_frames}/"
        x = to_ours(tiny[f"tcn/x_T{num_frames}"])
        module = MultiScaleTemporalConv(stride)
        variables = from_published(unpack(tiny, f"{group}param/"), init_shapes(module, x), self.entries)
        for mode in ("eval", "train"):
            apply = functools.partial(module.apply, train=mode == "train", mutable=["batch_stats"])
            y, state = jax.jit(apply, compiler_options=QUICK_COMPILATION)(variables, x)
            branches = np.stack(np.split(to_torch(y), 4, axis=1))  # (4, N, C / 4, T, V)
            assert relative_error(branches, tiny[f"{length}{mode}/branches"]) < 2e-6
        gradients, input_gradient = train_gradients(MultiScaleTemporalConv(stride, dtype=jnp.float64), variables, x)
        assert relative_error(to_torch(input_gradient), tiny[f"{length}train/grad_x"]) < 1e-6
        if num_frames == 8:
            check_gradients(self.entries, gradients, unpack(tiny, f"{length}train/grad/"))
            check_new_statistics(self.entries, state, unpack(tiny, f"{length}train/new/"))


# The whole model.


def recipe(entry):
    """Draws one array of the goldens' parameters; the names file describes how."""
    shape, kind = tuple(entry["shape"]), entry["kind"]
    noise = np.random.RandomState(zlib.crc32(entry["name"].encode())).standard_normal(shape)
    if kind in ("conv2d_kernel", "conv1d_kernel", "dense_kernel"):
        noise = noise / np.sqrt(np.prod(shape[1:]))
    elif kind == "bn_scale":
        noise = 1 + 0.05 * noise
    elif kind == "bn_var":
        noise = 1 + np.abs(0.05 * noise)
    elif kind == "adjacency":
        edges = skeleton_graph("ntu25").adjacency()
        # In float64, as the recipe has it: the float32 edges are 1, 1 / 2, 1 / 3, ..
        noise = np.where(edges > 0, 1 / np.round(1 / np.maximum(edges, 1e-9)), 0) + 0.1 * noise
    else:
        noise = 0.05 * noise
    return noise.astype(np.float32)


@pytest.fixture(scope="module")
def names():
    return json.loads(gzip.decompress((GOLDENS / "hdgcn_ntu25_names.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def goldens():
    with np.load(GOLDENS / "hdgcn_ntu25.npz") as goldens:
        return dict(goldens)


@pytest.fixture(scope="module")
def arrays(names):
    arrays = {entry["name"]: recipe(entry) for entry in names["entries"] if entry["kind"] != "bn_count"}
    for name, start in names["check"].items():
        np.testing.assert_array_equal(arrays[name].ravel()[:3], np.float32(start))
    return arrays


class TestPublishedModel:
    spec = HDGCNSpec(layout="ntu25")
    entries = published_arrays(spec)

    def loss(self, arrays, x, train, dtype):
        """Returns the loss (sum of squared logits) as a function, and its arguments: parameters, head and poses."""
        model = HDGCN(self.spec, dtype=dtype)
        poses = x.transpose(0, 2, 4, 3, 1)
        pose_valid = np.ones(poses.shape[:3], bool)
        shapes = jax.eval_shape(lambda: HDGCN(self.spec).init(jax.random.key(0), poses, pose_valid, train=False))
        shapes = {name: shapes[name] for name in ("params", "batch_stats")}
        variables = from_published(arrays, shapes, self.entries)
        head = {"weight": arrays["fc.weight"], "bias": arrays["fc.bias"]}
        collections = ["batch_stats", "intermediates"]

        def loss(params, head, poses):
            output, state = model.apply(
                variables | {"params": params}, poses, pose_valid, train=train, mutable=collections
            )
            logits = output.final_classification[:, 0] @ head["weight"].T + head["bias"][None]
            return jnp.square(logits).sum(), (logits, state)

        return loss, (variables["params"], head, poses)

    def check_stages_and_neighbours(self, goldens, intermediates, mode):
        units = [intermediates[f"unit{unit:02d}"] for unit in range(1, 11)]
        stages = {"data_bn": np.asarray(intermediates["input_output"][0]).transpose(0, 2, 3, 4, 1)}
        for number, unit in enumerate(units, start=1):
            stages[f"l{number}.gcn1"] = to_torch(unit["graph_output"][0])
            stages[f"l{number}.tcn1"] = to_torch(unit["temporal_output"][0])
            stages[f"l{number}"] = to_torch(intermediates["unit_output"][number - 1])
        for index, name in enumerate(goldens["stage_names"]):
            stage, samples = stages[name].ravel(), goldens[f"stage_samples_{mode}"][index]
            assert relative_error(stage[goldens["stage_sample_idx"][index]], samples) < 2e-5, name
            np.testing.assert_allclose(
                [stage.mean(), stage.std()], goldens[f"stage_meanstd_{mode}"][index], atol=1e-5, err_msg=name
            )
        joints = np.concatenate([np.moveaxis(unit["graph"]["edge"]["neighbours"][0], 1, 0) for unit in units])
        hierarchies = np.concatenate(
            [np.moveaxis(unit["graph"]["attention"]["edge"]["neighbours"][0], 1, 0) for unit in units[1:]]
        )
        # The closest call of all choices is 2e-6 of |x|^2, ten times float32's rounding: the choices must be equal.
        np.testing.assert_array_equal(np.sort(joints.argmax(-1), -1), goldens[f"knn5_{mode}"])
        np.testing.assert_array_equal(np.sort(hierarchies.argmax(-1), -1), goldens[f"knn3_{mode}"])

    @pytest.mark.parametrize("mode", ["eval", "train"])
    def test_float32_run(self, goldens, arrays, names, mode):
        loss, arguments = self.loss(arrays, goldens["x"], mode == "train", jnp.float32)
        _, (logits, state) = jax.jit(loss, compiler_options=QUICK_COMPILATION)(*arguments)
        np.testing.assert_allclose(logits, goldens[f"logits_{mode}"], atol=1e-4)
        np.testing.assert_allclose(logits, goldens[f"logits_{mode}_f64"], atol=1e-4)
        self.check_stages_and_neighbours(goldens, state["intermediates"], mode)
        if mode == "train":
            self.check_statistics(goldens, state, names)

    def check_statistics(self, goldens, state, names):
        shapes = {entry["name"]: tuple(entry["shape"]) for entry in names["entries"]}
        ours = traverse_util.flatten_dict({"batch_stats": state["batch_stats"]})
        statistics = {
            entry.name: entry.to_published(ours[entry.path], shapes[entry.name])
            for entry in self.entries
            if entry.path[0] == "batch_stats"
        }
        assert len(statistics) == 2 * len(goldens["bn_names"])
        for index, name in enumerate(goldens["bn_names"]):
            for part, key in (("running_mean", "bn_new_mean_norm"), ("running_var", "bn_new_var_norm")):
                norm = np.linalg.norm(statistics[f"{name}.{part}"].astype(np.float64))
                np.testing.assert_allclose(norm, goldens[key][index], atol=1e-5, rtol=1e-6, err_msg=name)
                if f"bn/{name}.{part}" in goldens:
                    np.testing.assert_allclose(statistics[f"{name}.{part}"], goldens[f"bn/{name}.{part}"], atol=1e-5)

    def test_gradients(self, goldens, arrays, names):
        """In float64, as the stored ones: in float32 rounding moves activations over the kinks of relu and max.

        The published code's own float32 gradients are off by up to 5e-3 in norm for that reason.
        """
        loss, arguments = self.loss(arrays, goldens["x"], True, jnp.float64)
        with jax.enable_x64(True):
            step = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True), compiler_options=QUICK_COMPILATION)
            (value, _), (params, head, poses) = jax.tree.map(np.asarray, step(*in_float64(arguments)))
        np.testing.assert_allclose(value, goldens["loss_train_f64"], rtol=1e-8)
        ours = traverse_util.flatten_dict({"params": params})
        shapes = {entry["name"]: tuple(entry["shape"]) for entry in names["entries"]}
        values = {
            entry.name: entry.to_published(ours[entry.path], shapes[entry.name])
            for entry in self.entries
            if entry.path[0] == "params"
        }
        values |= {f"fc.{name}": value for name, value in head.items()}
        assert set(values) == set(goldens["grad_names"])
        for index, name in enumerate(goldens["grad_names"]):
            value, reference = values[name], goldens["grad_norm_f64"][index]
            if goldens["grad_cancelled"][index]:
                assert np.linalg.norm(value) < 1e-10, name
                continue
            probe = np.random.RandomState(zlib.crc32(f"probe:{name}".encode())).standard_normal(value.shape)
            assert abs(np.linalg.norm(value) - reference) < 1e-5 * reference, name
            assert abs((value * probe).sum() - goldens["grad_probe_f64"][index]) < 1e-5 * reference, name
        for key in [key for key in goldens if key.startswith("grad/")]:
            assert relative_error(values[key.removeprefix("grad/")], goldens[key]) < 1e-5, key
        assert relative_error(poses.transpose(0, 4, 1, 3, 2), goldens["grad_x"]) < 1e-5

    def test_number_of_parameters_for_two_persons(self, names):
        assert sum(int(np.prod(entry["shape"])) for entry in names["entries"] if entry["trainable"]) == 1_649_700
        listed = {entry.name for entry in self.entries if entry.path[0] == "params"} | {"fc.weight", "fc.bias"}
        assert listed == {entry["name"] for entry in names["entries"] if entry["trainable"]}

    def test_the_table_lists_every_published_array_once(self, names):
        listed = [entry.name for entry in self.entries]
        expected = {entry["name"] for entry in names["entries"] if entry["kind"] != "bn_count"}
        assert len(set(listed)) == len(listed)
        assert set(listed) == expected - {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(("layout", "expected"), [("ntu25", 1_649_550), ("coco19", 1_297_998)])
def test_number_of_parameters_for_one_person(layout, expected):
    spec = HDGCNSpec(layout=layout)
    poses = np.zeros((1, 8, 1, spec.graph.num_joints, 3), np.float32)
    pose_valid = np.ones(poses.shape[:3], bool)
    shapes = jax.eval_shape(lambda: HDGCN(spec).init(jax.random.key(0), poses, pose_valid, train=False))
    head = spec.widths[-1] * NUM_CLASSES + NUM_CLASSES
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) + head == expected


# What the published code does not have.


def random_poses(num_clips, num_persons=1, num_frames=8):
    rng = np.random.default_rng(1)
    poses = rng.standard_normal((num_clips, num_frames, num_persons, 19, 3)).astype(np.float32)
    return poses, np.ones(poses.shape[:3], bool)


@pytest.fixture(scope="module")
def small_variables():
    """Random variables of the small model for two persons; those for one differ in the input norm alone."""
    poses, pose_valid = random_poses(1, 2)
    shapes = jax.eval_shape(lambda: HDGCN(SMALL).init(jax.random.key(0), poses, pose_valid, train=False))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        noise = 0.3 * rng.standard_normal(leaf.shape)
        return (1 + np.abs(noise) if path[-1].key in ("scale", "var") else noise).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, {name: shapes[name] for name in ("params", "batch_stats")})


@pytest.fixture(scope="module")
def evaluate(small_variables):
    apply = jax.jit(
        lambda poses, valid: HDGCN(SMALL).apply(small_variables, poses, valid, train=False),
        compiler_options=QUICK_COMPILATION,
    )
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


def test_a_person_seen_in_one_frame_counts_whole(evaluate):
    poses, pose_valid = random_poses(2, 2)
    both = evaluate(poses, pose_valid)
    pose_valid[:, 1:, 1] = False
    np.testing.assert_array_equal(evaluate(poses, pose_valid), both)


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
    one_features, one_updates = jax.jit(step, compiler_options=QUICK_COMPILATION)(poses, pose_valid)
    placed = jax.device_put((poses, pose_valid), sharding)
    features, updates = jax.jit(step, compiler_options=QUICK_COMPILATION)(*placed)
    assert len(features.sharding.device_set) == 8
    np.testing.assert_allclose(features, one_features, rtol=1e-4, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), updates, one_updates)


def test_bfloat16_stays_near_float32(small_variables, evaluate):
    poses, pose_valid = random_poses(2, 2)
    apply = jax.jit(
        functools.partial(HDGCN(SMALL, dtype=jnp.bfloat16).apply, train=False), compiler_options=QUICK_COMPILATION
    )
    features = apply(small_variables, poses, pose_valid).final_classification
    assert features.dtype == jnp.bfloat16
    assert relative_error(features.astype(jnp.float32), evaluate(poses, pose_valid)) < 0.05


def test_neighbours_of_equal_distance_go_to_the_lower_index():
    vertices = jnp.array([[0.0], [1.0], [-1.0], [3.0]])
    one_hot = np.asarray(nearest_one_hot(vertices, 2))
    np.testing.assert_array_equal(one_hot.argmax(-1), [[0, 1], [1, 0], [2, 0], [3, 1]])
    np.testing.assert_array_equal(one_hot.sum(-1), 1)
    assert nearest_one_hot(vertices, 9).shape == (4, 4, 4)


def test_stride_follows_the_width_unless_it_is_given():
    assert HDGCNSpec().strides == (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)
    assert HDGCNSpec(widths=(8, 8, 8), strided_units=(3,)).strides == (1, 1, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (64, 30)}, r"widths must be multiples of 4, got \(64, 30\)"),
        ({"widths": ()}, r"widths must be multiples of 4"),
        ({"widths": (8, 8), "strided_units": (3,)}, r"units 1 to 2, got stride 2 for units \[3\]"),
        ({"kernel_size": 4}, r"kernel size must be odd, got 4"),
        ({"layout": "coco17"}, r"take one of coco19"),
    ],
)
def test_an_impossible_spec_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        HDGCNSpec(**fields)


def test_poses_of_another_layout_are_refused():
    poses = jnp.zeros((1, 4, 1, 25, 3))
    with pytest.raises(ValueError, match=r"coco19 has 19 joints, got poses \(1, 4, 1, 25, 3\): convert"):
        HDGCN(SMALL).init(jax.random.key(0), poses, jnp.ones((1, 4, 1), bool), train=False)


def test_published_arrays_that_do_not_fit_are_refused(tiny):
    module, x = MultiScaleTemporalConv(), to_ours(tiny["tcn/x_T8"])
    entries = strip(temporal_conv_arrays("t", ()), "t.")
    arrays, shapes = unpack(tiny, "tcn1/param/"), init_shapes(module, x)
    with pytest.raises(KeyError, match=r"branches.0.0.weight"):
        from_published({}, shapes, entries)
    with pytest.raises(ValueError, match=r"branches.1.0.weight: expected \(16, 4\) of ours, got \(16, 4, 1, 1\)"):
        from_published(arrays | {"branches.1.0.weight": np.zeros((16, 4, 1, 1), np.float32)}, shapes, entries)
    with pytest.raises(ValueError, match=r"no published array for params/reduce_kernel"):
        from_published(arrays, shapes, [entry for entry in entries if "reduce_kernel" not in entry.path])
