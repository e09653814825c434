"""ST-GCN and CTR-GCN against the numbers of pyskl and of CTR-GCN's authors, and what is ours."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.ctrgcn import CTRGCNSpec, make_ctrgcn
from musclemap_jax.models.skeleton.spatial_graph import spatial_graph
from musclemap_jax.models.skeleton.stgcn import STGCNSpec, make_stgcn
from musclemap_jax.pretrained.architectures import make_architecture
from musclemap_jax.pretrained.gcn_names import CTRGCN_NAMES, STGCN_NAMES
from musclemap_jax.pretrained.published import branch_model, named_architecture
from tests.models import baseline_goldens as goldens

TINY_ST = (8,) * 4 + (16,) * 3 + (32,) * 3
TINY_CTR = (16,) * 4 + (32,) * 3 + (64,) * 3
NETS = {
    "stgcn": ("stgcn", STGCNSpec("coco17", TINY_ST), STGCNSpec("coco17"), STGCN_NAMES),
    "ctrgcn_pyskl": ("ctrgcn", CTRGCNSpec("coco17", TINY_CTR), CTRGCNSpec("coco17"), CTRGCN_NAMES["pyskl"]),
    "ctrgcn_official": (
        "ctrgcn",
        CTRGCNSpec("ntu25", TINY_CTR, "authors"),
        CTRGCNSpec("ntu25", convention="authors"),
        CTRGCN_NAMES["authors"],
    ),
}
ARCHITECTURES = {"stgcn": "stgcn", "ctrgcn_pyskl": "ctrgcn_pyskl", "ctrgcn_official": "ctrgcn"}
NUM_CLASSES = 20


def network(branch, spec, dtype=jnp.float32):
    make = make_stgcn if branch == "stgcn" else make_ctrgcn
    return make(spec, 0, False, dtype)


@functools.cache
def tiny_variables(name):
    branch, spec, _, names = NETS[name]
    architecture = named_architecture(name, branch_model(branch, backbones={branch: spec}), names, num_persons=2)
    arrays = goldens.packed(goldens.load(f"{name}_tiny"), "p")
    return goldens.imported(architecture, arrays)


def poses(name):
    """(N, T, M, V, C) of an (N, M, T, V, C) or (N, C, T, V, M) array."""
    x = goldens.load(f"{name}_tiny")["x"].astype(np.float32)
    return x.transpose(0, 2, 4, 3, 1) if name == "ctrgcn_official" else x.transpose(0, 2, 1, 3, 4)


def with_poses(run):
    """`run(variables, poses)`: everybody is present."""
    return lambda variables, x: run(variables, x, jnp.ones(x.shape[:3], bool))


def unit_names(name):
    """{published name: (unit, what was sown there)} of the outputs that are stored."""
    prefix = {"stgcn": "backbone.gcn.", "ctrgcn_pyskl": "backbone.net."}.get(name, "l")
    first = 1 if prefix == "l" else 0
    parts = ("gcn", "tcn") if name == "stgcn" else ("gcn1", "tcn1")
    named = {}
    for unit in range(1, 11):
        published = f"{prefix}{unit - 1 + first}"
        named[published] = (unit, "unit_output")
        named[f"{published}.{parts[0]}"] = (unit, "graph_output")
        named[f"{published}.{parts[1]}"] = (unit, "temporal_output")
    return named


def check_outputs(name, spec, state, golden, mode):
    sown, units = state["intermediates"], {}
    for group in spec.unit_groups():
        outputs = sown[group.name("unit{:02d}")]
        for unit in group.layers:
            take = (lambda leaf, at=unit - group.first: leaf[at]) if group.count > 1 else (lambda leaf: leaf)
            units[unit] = {key: take(value[0]) for key, value in outputs.items() if key.endswith("_output")}
    named, compared = unit_names(name), 0
    for key in {key.partition("|")[0] for key in golden if key.startswith(f"{mode}/")}:
        published = key.removeprefix(f"{mode}/")
        if published in named:
            unit, part = named[published]
            axes = (0, 3, 2, 1) if name == "stgcn" else (1, 0, 2, 3)  # of (BP, V, T, D) and (D, BP, T, V)
            ours = np.asarray(units[unit][part]).transpose(axes)  # (BP, D, T, V)
            goldens.assert_stored(ours, golden, key, goldens.FORWARD)
            compared += 1
    assert compared >= 12


@pytest.mark.parametrize("name", NETS)
def test_outputs_in_evaluation_are_the_published_ones(name):
    branch, spec, _, _ = NETS[name]
    golden, x = goldens.load(f"{name}_tiny"), poses(name)
    run = jax.jit(with_poses(functools.partial(goldens.apply, network(branch, spec), branch, False)))
    logits, state = run(tiny_variables(name), x)
    check_outputs(name, spec, state, golden, "eval")
    goldens.assert_stored(logits, golden, "eval/logits", goldens.FORWARD)
    goldens.assert_stored(logits, golden, "eval/logits_f64", goldens.FORWARD)
    padded = x.copy()
    padded[1, :, 1] = 0
    logits, _ = run(tiny_variables(name), padded)
    goldens.assert_stored(logits, golden, "eval_pad/logits", goldens.FORWARD)


@pytest.mark.parametrize("name", NETS)
def test_training_has_the_published_outputs_statistics_and_gradients(name):
    branch, spec, _, names = NETS[name]
    golden, meta = goldens.load(f"{name}_tiny"), goldens.settings(f"{name}_tiny")
    # In float64: float32 leaves three digits of the gradients of the input norm.
    with jax.enable_x64(True):
        run = with_poses(functools.partial(goldens.apply, network(branch, spec, jnp.float64), branch, True))
        variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tiny_variables(name))
        x = np.asarray(poses(name), np.float64)
        gradients, d_poses, (logits, state) = goldens.gradients(run, variables, x)
    check_outputs(name, spec, state, golden, "train")
    goldens.assert_stored(logits, golden, "train/logits", goldens.FORWARD)
    ours = goldens.published(names, {"batch_stats": {branch: state["batch_stats"]}})
    expected = goldens.packed(golden, "new")
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(ours[key], value, rtol=0, atol=goldens.STATISTICS * max(1, np.abs(value).max()))
    goldens.assert_gradients(goldens.published(names, gradients), golden, meta, goldens.GRADIENT)
    order = (0, 4, 1, 3, 2) if name == "ctrgcn_official" else (0, 2, 1, 3, 4)
    goldens.assert_stored(np.asarray(d_poses).transpose(order), golden, "g/x", goldens.GRADIENT)


def full_arrays(name):
    """All published arrays of the full size, drawn by the recipe."""
    meta = goldens.settings("skeleton_full_recipe")[f"{name}_full"]
    spec = NETS[name][2]
    base = np.ones((3, 17, 17)) if name == "stgcn" else spec.graph.directed()
    gain = 0.5 if name == "stgcn" else 0.15
    shapes = {key: tuple(shape) for key, shape in meta["params"]}
    for key in meta["bn_names"]:
        shapes[key] = shapes[key.rpartition(".")[0] + ".weight"]
    return {key: goldens.drawn_parameter(key, shape, gain, base) for key, shape in shapes.items()}


@pytest.mark.parametrize("name", NETS)
def test_a_published_file_of_the_full_size_gives_its_logits(name):
    branch, _, spec, _ = NETS[name]
    arrays = full_arrays(name)
    counts = {"stgcn": 3_078_424, "ctrgcn_pyskl": 1_426_216, "ctrgcn_official": 1_436_392}
    assert sum(array.size for key, array in arrays.items() if "running" not in key) == counts[name]
    variables = goldens.imported(make_architecture(ARCHITECTURES[name]), arrays)
    x = goldens.drawn_input(f"x/{name}_full", (2, 2, 16, spec.graph.num_joints, 3)).transpose(0, 2, 1, 3, 4)
    run = with_poses(functools.partial(goldens.apply, network(branch, spec), branch, False))
    logits, _ = jax.jit(run)(variables, x)
    golden = goldens.load("skeleton_full_recipe")
    goldens.assert_stored(logits, golden, f"{name}_full/eval/logits", goldens.FORWARD)


@pytest.mark.parametrize(
    ("branch", "spec", "counted"),
    [
        ("stgcn", STGCNSpec("coco17"), 3_078_424),
        ("stgcn", STGCNSpec("ntu25"), 3_088_552),
        ("ctrgcn", CTRGCNSpec("coco17"), 1_426_216),
        ("ctrgcn", CTRGCNSpec("ntu25"), 1_436_392),
        ("ctrgcn", CTRGCNSpec("ntu25", convention="authors"), 1_436_392),
    ],
)
def test_there_are_as_many_parameters_as_published(branch, spec, counted):
    """With a head of 20 classes; CTR-GCN's input norm is of two persons."""
    poses = jax.ShapeDtypeStruct((1, 8, 2, spec.graph.num_joints, 3), jnp.float32)
    valid = jax.ShapeDtypeStruct(poses.shape[:3], bool)
    init = functools.partial(network(branch, spec).init, train=False)
    params = jax.eval_shape(init, jax.random.key(0), poses, valid)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) + NUM_CLASSES * (spec.output_dim + 1) == counted


@pytest.mark.parametrize(
    ("layout", "published"),
    [("coco17", "pyskl/coco"), ("ntu25", "pyskl/nturgbd"), ("openpose18", "pyskl/openpose")],
)
def test_edge_sets_are_the_published_ones(layout, published):
    graph, golden = spatial_graph(layout), goldens.load("graphs")
    np.testing.assert_array_equal(graph.directed(), golden[f"{published}/spatial"])
    np.testing.assert_array_equal(graph.by_distance(), golden[f"{published}/stgcn_spatial"])


def test_the_authors_links_of_the_hands_are_their_own():
    spec = CTRGCNSpec("ntu25", convention="authors")
    np.testing.assert_array_equal(spec.adjacency(), goldens.load("graphs")["ctrgcn_official/ntu"])
    assert np.any(spec.adjacency() != CTRGCNSpec("ntu25").adjacency().swapaxes(1, 2))


def test_our_layout_is_a_tree_from_the_neck():
    graph = spatial_graph("coco19")
    parents = dict(graph.links)
    assert len(parents) == len(graph.links) == graph.num_joints - 1
    for joint in range(graph.num_joints):
        path = [joint]
        while path[-1] != graph.centre:
            path.append(parents[path[-1]])
            assert len(path) < 8


def test_absent_persons_do_not_count():
    branch, spec, _, _ = NETS["ctrgcn_pyskl"]
    run = jax.jit(functools.partial(goldens.apply, network(branch, spec), branch, False))
    x = poses("ctrgcn_pyskl")
    present = np.ones(x.shape[:3], bool)
    present[0, :, 1] = False
    other = x.copy()
    other[0, :, 1] = 7
    variables = tiny_variables("ctrgcn_pyskl")
    (first, _), (second, _) = run(variables, x, present), run(variables, other, present)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - run(variables, x, np.ones_like(present))[0]).max() > 1e-3


def test_the_features_of_attentive_pooling_are_joints_that_average_to_the_pooled_ones():
    branch, spec, _, _ = NETS["stgcn"]
    x = poses("stgcn")
    present = np.ones(x.shape[:3], bool)
    present[0, :, 1] = False
    given = {collection: tree[branch] for collection, tree in tiny_variables("stgcn").items()}
    output = jax.jit(functools.partial(network(branch, spec).apply, train=False))(given, x, present)
    assert output.features.shape == (2, 17, spec.output_dim)
    np.testing.assert_allclose(output.features.mean(1)[:, None], output.final_classification, rtol=1e-5, atol=1e-6)
    assert np.abs(output.features[:, 0] - output.features[:, 1]).max() > 1e-3


def test_weights_of_another_layout_come_by_the_joints_names():
    arrays = full_arrays("ctrgcn_pyskl")
    from musclemap_jax.pretrained.importing import import_arrays
    from musclemap_jax.pretrained.source import Checkpoint, SourceTensor

    tensors = {name: SourceTensor(array.shape, lambda array=array: array) for name, array in arrays.items()}
    made = make_architecture("ctrgcn_pyskl", layout="coco19")
    filled, report = import_arrays(Checkpoint(tensors), made)
    assert {entry.name for entry in report.left_out} == {
        f"backbone.data_bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")
    }
    assert {used.change for used in report.changed} == {"by joint name"}
    ours = filled["params", "ctrgcn", "unit01", "graph", "adjacency"]
    spec, learned = CTRGCNSpec("coco19"), arrays["backbone.net.0.gcn1.A"] - spatial_graph("coco17").directed()
    initial = spec.adjacency()
    np.testing.assert_allclose(ours[1, 7, 5] - initial[1, 7, 5], learned[1, 5, 7], atol=1e-6)
    np.testing.assert_array_equal(ours[:, 17], initial[:, 17])  # the neck is in no published layout


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CTRGCNSpec(widths=(6,)), "CTRGCNSpec.widths: expected multiples of 4"),
        (lambda: STGCNSpec(widths=()), "STGCNSpec.widths"),
        (lambda: STGCNSpec(layout="halpe26"), "skeleton layout 'halpe26' has no links: choose one of coco17"),
        (lambda: CTRGCNSpec(convention="mine"), "convention: expected one of pyskl, authors"),
    ],
)
def test_specs_that_cannot_be_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
