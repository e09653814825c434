"""Published weights of the baseline networks go out and come back exactly, whatever is stacked in ours."""

import dataclasses
import re

import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import load_file

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import default_config, resolve
from musclemap_jax.experiment.variants import apply_variant
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.pretrained import export
from musclemap_jax.pretrained.architectures import NAMES
from musclemap_jax.pretrained.importing import import_arrays, import_file
from musclemap_jax.pretrained.published import branch_model, model_shapes, named_architecture
from musclemap_jax.pretrained.result import save_initial
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor
from tests.pretrained.trees import assert_same, flat, variables

SMALL = {
    "swin": {"depths": (5, 1), "num_heads": (1, 2), "embed_dim": 4},
    "c2d": {"width": 8, "depths": (1, 3), "kernels": ((1,), (1,), (1,))},
    "i3d": {"width": 8, "depths": (1, 3), "kernels": ((5,), (3,), (3, 1))},
    "slow": {"width": 8, "depths": (1, 4), "kernels": ((1,), (1,), (3,))},
    "slowfast": {"width": 8, "depths": (3, 1), "kernels": ((1,), (1,), (3,)), "fast_kernels": ((5,), (3,), (3,))},
    "stgcn": {"widths": (4, 4, 4, 8)},
    "ctrgcn": {"widths": (4, 4, 4, 8)},
    "ctrgcn authors": {"widths": (4, 4, 4, 8), "convention": "authors"},
}


def made(key):
    """Branch and architecture of a small network."""
    branch = key.split()[0]
    spec = dataclasses.replace(BRANCHES[branch].backbone.default, **SMALL[key])
    names = NAMES[branch](dataclasses.asdict(spec))
    model = branch_model(branch, backbones={branch: spec})
    return branch, named_architecture(key, model, names)


@pytest.mark.parametrize("key", SMALL)
def test_a_round_trip_is_exact(key):
    branch, architecture = made(key)
    params, batch_stats = variables(architecture.model)
    arrays = traverse_util.flatten_dict({"params": params, "batch_stats": batch_stats})
    published = export.published_arrays({"params": params, "batch_stats": batch_stats}, backbones={branch: SMALL[key]})
    tensors = {name: SourceTensor(array.shape, lambda array=array: array) for name, array in published.items()}
    back, report = import_arrays(Checkpoint(tensors), architecture)
    assert report.left_out == report.initial == report.changed == ()
    assert back.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(back[path], array)


def test_every_backbone_with_published_weights_can_be_exported():
    assert {key.split()[0] for key in SMALL} == NAMES.keys()


def test_the_command_exports_in_the_convention_of_the_import(tmp_path):
    """Of CTR-GCN there are two, whose arrays have other names and signs."""
    branch, architecture = made("ctrgcn authors")
    params, batch_stats = variables(architecture.model)
    tree = {"params": params, "batch_stats": batch_stats}
    published = export.published_arrays(tree, branch, {branch: SMALL["ctrgcn authors"]})
    tensors = {name: SourceTensor(array.shape, lambda array=array: array) for name, array in published.items()}
    save_initial(tmp_path / "weights", *import_arrays(Checkpoint(tensors), architecture), architecture)
    assert export.main([f"--source={tmp_path / 'weights'}", f"--out={tmp_path / 'out.safetensors'}"]) == 0
    exported = load_file(tmp_path / "out.safetensors")
    assert exported.keys() == published.keys()
    assert "l4.gcn1.convs.2.conv4.weight" in exported
    arrays, report = import_file(tmp_path / "out.safetensors", architecture)
    assert report.left_out == report.initial == ()
    assert_same(traverse_util.unflatten_dict(arrays)["params"], params)


def test_pyskl_reads_the_edges_in_the_other_direction():
    _, architecture = made("ctrgcn")
    params, _ = variables(architecture.model)
    graph = {name: np.asarray(leaf) for name, leaf in params["ctrgcn"]["unit01"]["graph"].items() if "kernel" in name}
    published = export.published_arrays({"params": params}, "ctrgcn")
    prefix = "backbone.net.0.gcn1"
    np.testing.assert_array_equal(
        published[f"{prefix}.convs.1.conv1.weight"][..., 0, 0].T, graph["relation_kernel"][1, 1]
    )
    np.testing.assert_array_equal(published[f"{prefix}.convs.1.conv4.weight"][..., 0, 0].T, -graph["refine_kernel"][1])
    edges = params["ctrgcn"]["unit01"]["graph"]["adjacency"]
    np.testing.assert_array_equal(published[f"{prefix}.A"], edges.swapaxes(1, 2))


@pytest.mark.parametrize("branch", NAMES)
def test_class_tokens_are_in_no_published_model(branch):
    config = default_config()
    config.model.update(branches=(branch,), sites="none", fusion="none")
    spec = resolve(apply_variant(config, "smoke")).model
    rng = np.random.default_rng(0)
    tree = traverse_util.unflatten_dict({path: rng.random(shape) for path, shape in model_shapes(spec).items()})
    with pytest.raises(
        UserError, match="no published model has such a parameter: MViTv2 branches can be exported, and"
    ):
        export.published_arrays(tree)
    published = named_architecture("plain", branch_model(branch, backbones=spec.backbones), NAMES[branch]({}))
    without = {"/".join(path) for path in published.shapes}
    pattern = BRANCHES[branch].backbone.token_pattern
    extra = [name for name in flat(tree) if name not in without]
    assert extra
    assert all(re.search(pattern, name.split("/", 2)[2]) for name in extra)
    assert without <= flat(tree).keys()
