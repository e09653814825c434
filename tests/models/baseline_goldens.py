"""Loads the reference numbers of the baseline networks and compares with them.

See tests/data/goldens/baselines/README.md for the keys of the files and for how parameters and inputs are drawn.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from musclemap_jax.pretrained.importing import import_arrays
from musclemap_jax.pretrained.published import Architecture, Names
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor

FOLDER = Path(__file__).parent.parent / "data" / "goldens" / "baselines"

FORWARD, GRADIENT, STATISTICS = 1e-4, 3e-4, 1e-5


@functools.cache
def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden file."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        return dict(stored)


@functools.cache
def settings(name: str) -> dict[str, Any]:
    """The file's configuration and lists of names."""
    return as_json(load(name)["json"])


def as_json(array: np.ndarray) -> Any:
    return json.loads(bytes(array))


def packed(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """{published name: float32 array} of a packed group: `p`, `new` or `g`."""
    flat, offset, unpacked = arrays[f"{prefix}_flat"].astype(np.float32), 0, {}
    for name, shape in as_json(arrays[f"{prefix}_index"]):
        size = int(np.prod(shape))
        unpacked[name] = flat[offset : offset + size].reshape(shape)
        offset += size
    assert offset == flat.size
    return unpacked


def normal(tag: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(zlib.crc32(tag.encode())).standard_normal(shape)


def drawn_input(tag: str, shape: tuple[int, ...]) -> np.ndarray:
    """An input of the recipe."""
    return (np.rint(32 * normal(tag, shape)) / 32).astype(np.float32)


def drawn_parameter(name: str, shape: tuple[int, ...], gain: float = 1.0, base: Any = None) -> np.ndarray:
    """A parameter or statistic of the recipe; `base` is the initial value of learned edges."""
    noise, leaf = normal(name, tuple(shape)), name.rpartition(".")[2]
    if leaf == "running_mean":
        value = 0.1 * noise
    elif leaf == "running_var":
        value = 0.6 + 0.4 * noise * noise
    elif leaf == "alpha":
        value = 0.25 + 0.05 * noise
    elif leaf == "relative_position_bias_table":
        value = 0.5 * noise
    elif leaf in ("A", "PA"):
        value = base + 0.05 * noise
    elif leaf == "bias":
        value = 0.1 * noise
    elif len(shape) == 1:
        value = 1 + 0.2 * noise
    else:
        value = noise * np.sqrt(gain / np.prod(shape[1:]))
    return (np.rint(256 * value) / 256).astype(np.float32)


def imported(architecture: Architecture, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Our variables from published arrays, all of which have their place."""
    tensors = {name: SourceTensor(array.shape, lambda array=array: array) for name, array in arrays.items()}
    filled, report = import_arrays(Checkpoint(tensors), architecture)
    assert report.left_out == report.initial == report.changed == ()
    return traverse_util.unflatten_dict(filled)


def published(names: Names, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Our variables, or their gradients, in the published layout."""
    arrays = {}
    for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
        for entry in names.entries(path):
            arrays[entry.source] = entry.transform.backward(np.asarray(leaf)[entry.index])
    return arrays


def apply(
    module: nn.Module, branch: str, train: bool, variables: Mapping[str, Any], *inputs: jax.Array
) -> tuple[jax.Array, dict[str, Any]]:
    """Logits of a branch and its head, and what it sowed and updated."""
    own = {collection: tree[branch] for collection, tree in variables.items() if branch in tree}
    output, state = module.apply(own, *inputs, train=train, mutable=["batch_stats", "intermediates"])
    head = variables["params"][f"head_{branch}"]
    return output.final_classification[:, 0] @ head["kernel"] + head["bias"][None], state


def gradients(
    run: Callable[..., tuple[jax.Array, Any]], variables: Mapping[str, Any], x: np.ndarray
) -> tuple[dict[str, Any], jax.Array, tuple[jax.Array, Any]]:
    """Gradients of sum(loss_w * logits) by parameters and input, and the results of `run(variables, x)`."""

    @jax.jit
    def both(params, x):
        def loss(params, x):
            logits, state = run({**variables, "params": params}, x)
            return jnp.sum(normal("loss_w", logits.shape).astype(logits.dtype) * logits), (logits, state)

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    (params, d_x), results = both(variables["params"], x)
    return {"params": params}, d_x, results


def assert_stored(actual: np.ndarray, golden: Mapping[str, np.ndarray], key: str, tolerance: float) -> None:
    """Compares with a whole array or with the stored sample of one, relative to its largest value."""
    actual = np.asarray(actual)
    if key in golden:
        expected = golden[key]
        assert actual.shape == expected.shape, key
    else:
        assert actual.shape == tuple(golden[f"{key}|shape"]), key
        expected = golden[f"{key}|sample"]
        actual = actual.reshape(-1)[:: int(golden[f"{key}|step"])]
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error <= tolerance, f"{key}: relative error {error:.2e}"


def assert_gradients(
    ours: Mapping[str, np.ndarray], golden: Mapping[str, np.ndarray], meta: Mapping[str, Any], tolerance: float
) -> None:
    """Compares gradients by norm, by random projection and, where they are stored, in full.

    What is exactly zero but for rounding (`grad_cancelled`) only has to be small beside the largest gradient.
    """
    largest, cancelled = golden["g_norm"].max(), set(meta.get("grad_cancelled", ()))
    full = packed(golden, "g")
    assert set(ours) == set(meta["grad_names"])
    for index, name in enumerate(meta["grad_names"]):
        gradient, norm = np.asarray(ours[name], np.float64), golden["g_norm"][index]
        if name in cancelled:
            assert np.abs(gradient).max() <= tolerance * largest, name
            continue
        found = np.linalg.norm(gradient), np.sum(gradient * normal(f"probe:{name}", gradient.shape))
        for value, expected in zip(found, (norm, golden["g_probe"][index]), strict=True):
            assert abs(value - expected) <= tolerance * max(norm, 1e-6 * largest), f"{name}: {value} {expected}"
        if name in full:
            error = np.abs(gradient - full[name]).max() / np.abs(full[name]).max()
            assert error <= tolerance, f"{name}: relative error {error:.2e}"


def channels_first(x: np.ndarray) -> np.ndarray:
    """(B, T, H, W, C) to (B, C, T, H, W)."""
    return np.moveaxis(np.asarray(x), -1, 1)


def channels_last(x: np.ndarray) -> np.ndarray:
    """(B, C, T, H, W) to (B, T, H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))
