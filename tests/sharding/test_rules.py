"""Tests of the sharding rules: on the model of the paper, whose shapes alone are made, and over training steps."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from configs.transm3e import get_config
from musclemap_jax.experiment.config import resolve
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.sharding.mesh import make_mesh
from musclemap_jax.sharding.rules import bytes_per_device, path_name, state_sharding, unsharded_params
from musclemap_jax.train.optimizer import make_optimizer


@pytest.fixture(scope="module")
def paper_state():
    """Shapes of parameters, optimizer state and moving average of configs/transm3e.py."""
    spec = resolve(get_config())
    frames, poses = spec.input.num_frames, spec.input.num_poses
    size, persons = spec.input.crop_size, spec.input.num_persons
    batch = {
        "video": jax.ShapeDtypeStruct((1, 1, frames, size, size, 3), jnp.uint8),
        "skeleton": jax.ShapeDtypeStruct((1, poses, persons, 19, 3), jnp.float32),
        "skeleton_valid": jax.ShapeDtypeStruct((1, poses, persons), bool),
        "muscles": jax.ShapeDtypeStruct((1, 20), jnp.float32),
    }

    def initialise(batch):
        variables = TransM3E(spec.model).init({"params": jax.random.key(0)}, batch, train=False, distil=True)
        params = variables["params"]
        opt_state = make_optimizer(spec.optimizer).init(params)
        return {"params": params, "opt_state": opt_state, "ema": params, "batch_stats": variables["batch_stats"]}

    return jax.eval_shape(initialise, batch)


RULES = TransM3E().sharding_rules


def fsdp(ways):
    return make_mesh({"data": -1, "fsdp": ways, "tensor": 1})


def test_eight_ways_leave_an_eighth_of_the_state_on_each_device(paper_state):
    whole = bytes_per_device(paper_state, state_sharding(paper_state, fsdp(1), RULES))
    assert whole == sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(paper_state))
    cut = bytes_per_device(paper_state, state_sharding(paper_state, fsdp(8), RULES))
    assert whole / 8 <= cut <= 1.05 * whole / 8
    for part in ("params", "ema", "opt_state"):
        part_cut = bytes_per_device(paper_state[part], state_sharding(paper_state, fsdp(8), RULES)[part])
        part_whole = bytes_per_device(paper_state[part], state_sharding(paper_state, fsdp(1), RULES)[part])
        assert part_cut <= 1.05 * part_whole / 8, part


def test_every_array_of_the_model_has_a_rule(paper_state):
    assert unsharded_params(paper_state["params"], fsdp(1), RULES) == []
    names = {array.name: array.reason for array in unsharded_params(paper_state["params"], fsdp(8), RULES)}
    assert "no rule" not in names.values()
    assert names.pop("skeleton/unit01/graph/down_kernel") == "fsdp=8 does not divide 3"
    assert len(names) < 10


@pytest.mark.parametrize("name", ["swin", "c2d", "slowfast", "stgcn", "ctrgcn"])
def test_the_baselines_are_cut_too(name):
    spec = ModelSpec(branches=(name,))
    inputs = {name: BRANCHES[name].example(spec.architecture(name), 2)}
    model = TransM3E(spec)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, 1, False, True, method=TransM3E.run))
    params = variables["params"]
    mesh, rules = fsdp(8), model.sharding_rules
    reasons = {array.reason for array in unsharded_params(params, mesh, rules)}
    assert "no rule" not in reasons
    whole = bytes_per_device(params, state_sharding(params, fsdp(1), rules))
    assert bytes_per_device(params, state_sharding(params, mesh, rules)) <= 1.15 * whole / 8


def test_what_has_no_rule_or_does_not_divide_is_named():
    mesh = make_mesh({"data": 1, "fsdp": 4, "tensor": 2})
    tree = {
        "video": {"table": jnp.zeros((8, 8)), "odd": {"kernel": jnp.zeros((7, 5))}, "norm": {"scale": jnp.zeros(3)}},
        "step": jnp.zeros(()),
    }
    assert [tuple(array) for array in unsharded_params(tree, mesh)] == [
        ("video/odd/kernel", (7, 5), "fsdp=4 does not divide 7 and tensor=2 does not divide 5"),
        ("video/table", (8, 8), "no rule"),
    ]
    assert {sharding.spec for sharding in jax.tree.leaves(state_sharding(tree, mesh))} == {PartitionSpec()}


def test_rules_cut_the_last_dimensions_of_kernels():
    mesh = make_mesh({"data": 1, "fsdp": 4, "tensor": 2})
    video = {
        "attn": {"qkv": {"kernel": jnp.zeros((8, 6)), "bias": jnp.zeros(6)}, "proj": {"kernel": jnp.zeros((8, 4))}},
        "patch_embed": {"proj": {"kernel": jnp.zeros((3, 7, 7, 3, 8))}},
        "odd": {"kernel": jnp.zeros((7, 6))},
    }
    tree = {
        "video": video,
        "skeleton": {"graph": {"down_kernel": jnp.zeros((4, 8, 6))}, "tokens": jnp.zeros((20, 8))},
        "fusion_skeleton": {"mlp": {"fc2": {"kernel": jnp.zeros((8, 6))}}},
        "kd_to_skeleton_unit01": {"kernel": jnp.zeros((8, 6))},
        "of_a_user": {"down_kernel": jnp.zeros((4, 8, 6))},
    }
    shardings = state_sharding({"params": tree, "mu": tree}, mesh, RULES)
    for part in ("params", "mu"):
        specs = jax.tree.map(lambda sharding: sharding.spec, shardings[part])
        attention = specs["video"]["attn"]
        assert attention["qkv"]["kernel"] == PartitionSpec("fsdp", "tensor")
        assert attention["proj"]["kernel"] == PartitionSpec("tensor", "fsdp")
        assert specs["video"]["patch_embed"]["proj"]["kernel"] == PartitionSpec(None, None, None, None, "fsdp")
        assert specs["video"]["odd"]["kernel"] == PartitionSpec(None, "tensor")
        assert specs["of_a_user"]["down_kernel"] == PartitionSpec(None, "fsdp", "tensor")
        assert specs["skeleton"]["graph"]["down_kernel"] == PartitionSpec(None, "fsdp", None)
        narrow = (specs["fusion_skeleton"]["mlp"]["fc2"], specs["kd_to_skeleton_unit01"])
        assert all(module["kernel"] == PartitionSpec("fsdp", None) for module in narrow)
        assert attention["qkv"]["bias"] == specs["skeleton"]["tokens"] == PartitionSpec()


def test_path_name_reads_like_a_path():
    paths = jax.tree_util.tree_flatten_with_path({"params": {"video": [1, 2]}})[0]
    assert [path_name(path) for path, _ in paths] == ["params/video/0", "params/video/1"]


def test_bytes_of_a_shard_are_of_the_cut_array():
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 1}, jax.devices()[:4])
    tree = {"a": jax.ShapeDtypeStruct((8, 6), "float32"), "b": jax.ShapeDtypeStruct((3,), "bfloat16")}
    shardings = {"a": NamedSharding(mesh, PartitionSpec(("data", "fsdp"))), "b": NamedSharding(mesh, PartitionSpec())}
    assert bytes_per_device(tree, shardings) == 8 * 6 * 4 // 4 + 3 * 2
