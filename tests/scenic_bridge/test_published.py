"""Scenic's published ViViT in our branch: a checkpoint of that form, made here, of a small model."""

import jax
import numpy as np
import pytest
from flax import serialization, traverse_util

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.importing import import_file
from tests.scenic_bridge.test_branches import random_like, scenics_vivit, vivit_spec

pytestmark = [pytest.mark.scenic, pytest.mark.usefixtures("scenics_own_rules")]


@pytest.fixture
def params(tiny_batch):
    """Parameters of Scenic's own module."""
    clips = tiny_batch(1)["video"][:, 0].astype(np.float32)
    shapes = jax.eval_shape(lambda: scenics_vivit().init(jax.random.key(0), clips, train=False))
    return random_like(shapes["params"])


@pytest.fixture
def checkpoint(params, tmp_path):
    """The file: a training state of the time before Optax, as those of Scenic's model zoo are."""
    flat = traverse_util.flatten_dict(params, sep="/")
    momentum = traverse_util.unflatten_dict(
        {f"{name}/momentum": np.zeros_like(leaf) for name, leaf in flat.items()}, sep="/"
    )
    optimizer = {"target": params, "state": {"step": 7, "param_states": momentum}}
    path = tmp_path / "checkpoint"
    path.write_bytes(serialization.msgpack_serialize({"global_step": 7, "optimizer": optimizer, "model_state": {}}))
    return path


def architecture(spec, **options):
    from musclemap_jax.scenic_bridge.published import published_vivit

    return published_vivit(spec, "vivit", **options)


def test_every_array_but_the_head_is_used(checkpoint, params):
    arrays, report = import_file(checkpoint, architecture(vivit_spec()))
    found = {path[2:]: array for path, array in arrays.items() if path[1] == "vivit"}
    expected = {
        path: leaf for path, leaf in traverse_util.flatten_dict(params).items() if path[0] != "output_projection"
    }
    assert found.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_array_equal(found[path], leaf)
    assert [entry.name for entry in report.left_out] == ["output_projection.bias", "output_projection.kernel"]
    assert sorted(entry.name for entry in report.initial) == ["params/head_vivit/bias", "params/head_vivit/kernel"]


def test_positions_are_interpolated_to_another_clip_size(checkpoint, params):
    """2 x 2 cells become 4 x 4 and 2 times 4; by hand for one row: corners stay, inner values lie between them."""
    spec = vivit_spec()
    arrays, report = import_file(checkpoint, architecture(spec, input_size=(8, 32, 32)))
    in_frame = arrays["params", "vivit", "SpatialTransformer", "posembed_input", "pos_embedding"]
    given = params["SpatialTransformer"]["posembed_input"]["pos_embedding"]
    assert in_frame.shape == (1, 17, 16)
    np.testing.assert_array_equal(in_frame[:, 0], given[:, 0])
    np.testing.assert_allclose(in_frame[0, 1], given[0, 1], atol=1e-6)
    between = 0.75 * given[0, 1] + 0.25 * given[0, 2]
    np.testing.assert_allclose(in_frame[0, 2], between, atol=1e-6)
    in_time = arrays["params", "vivit", "TemporalTransformer", "posembed_input", "pos_embedding"]
    assert in_time.shape == (1, 5, 16)
    assert {used.change for used in report.changed} == {"interpolated"}


def test_class_tokens_of_transm3e_are_new(checkpoint):
    _, report = import_file(checkpoint, architecture(vivit_spec(), num_tokens=20))
    assert "params/vivit/class_tokens/classification" in {entry.name for entry in report.initial}
    assert "cls_TemporalTransformer" in {entry.name for entry in report.left_out}


def test_another_model_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(
        serialization.msgpack_serialize({"params": {"embedding": {"kernel": np.zeros((2, 2), np.float32)}}})
    )
    with pytest.raises(UserError, match=r"not a checkpoint of arch vivit: \d+ arrays are missing"):
        import_file(path, architecture(vivit_spec()))
