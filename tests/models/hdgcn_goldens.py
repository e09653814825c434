"""Loads HD-GCN's reference numbers and compares with them; see tests/data/goldens/hdgcn/README.md."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from musclemap_jax.models.skeleton.graph import skeleton_graph
from musclemap_jax.pretrained.hdgcn_names import KERNEL

FOLDER = Path(__file__).parent.parent / "data" / "goldens" / "hdgcn"


@functools.cache
def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden file."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        return dict(stored)


@functools.cache
def names() -> dict:
    """Entries (name, shape, kind, trainable) of the whole model's arrays, and checks of the recipe."""
    return json.loads(gzip.decompress((FOLDER / "hdgcn_ntu25_names.json.gz").read_bytes()))


@functools.cache
def whole_model() -> dict[str, np.ndarray]:
    """The whole model's parameters and statistics by their published names, drawn by the recipe."""
    arrays = {entry["name"]: recipe(entry) for entry in names()["entries"] if entry["kind"] != "bn_count"}
    for name, start in names()["check"].items():
        np.testing.assert_array_equal(arrays[name].ravel()[:3], np.float32(start))
    return arrays


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


def relative_error(value, reference):
    """Largest difference over the reference's largest value."""
    return np.abs(np.asarray(value, np.float64) - reference).max() / np.abs(reference).max()


def to_ours(array):
    """(N, C, T, V) of torch to our (C, V, T, N)."""
    return np.ascontiguousarray(array.transpose(1, 3, 2, 0))


def to_torch(array):
    """Our (C, V, T, N) to torch's (N, C, T, V)."""
    return np.asarray(array).transpose(3, 0, 2, 1)


def unpack(prefix):
    """Returns {name: array} of a packed group of hdgcn_tiny."""
    tiny = load("hdgcn_tiny")
    arrays, offset = {}, 0
    for name, shape in json.loads(str(tiny[prefix + "index"])):
        size = int(np.prod(shape))
        arrays[name] = tiny[prefix + "flat"][offset : offset + size].reshape(shape)
        offset += size
    return arrays


def strip(entries, prefix):
    return [dataclasses.replace(entry, source=entry.source.removeprefix(prefix)) for entry in entries]


def from_published(arrays, template, entries):
    """Variables of the template's structure, filled from published arrays; every part has to be in an entry."""
    shapes = traverse_util.flatten_dict(dict(template))
    filled = {path: np.full(leaf.shape, np.nan, np.float32) for path, leaf in shapes.items()}
    for entry in entries:
        target = filled[entry.target]
        target[entry.index] = entry.transform.forward(np.asarray(arrays[entry.source]), target[entry.index].shape)
    assert filled.keys() == {entry.target for entry in entries}
    return traverse_util.unflatten_dict(filled)


def to_published(entry, array, shape):
    """Our whole array's slice in the published layout; `shape` is that of the published array."""
    array = np.asarray(array)[entry.index]
    if entry.transform is KERNEL:
        array = np.moveaxis(array.reshape(-1, *array.shape[-2:]).swapaxes(1, 2), 0, 2)
    return array.reshape(shape)


def published(entries, tree, arrays):
    """Yields (name, ours, reference) of all arrays of a published group that our tree holds."""
    ours = traverse_util.flatten_dict(tree)
    by_name = {entry.source: entry for entry in entries}
    for name, reference in arrays.items():
        entry = by_name[name]
        yield name, to_published(entry, ours[entry.target], reference.shape), reference


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
        step = jax.jit(jax.grad(loss, (0, 1)))
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
