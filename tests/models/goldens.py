"""Loads the reference numbers of tests/data/goldens and puts published parameters into our models.

What was drawn from numpy's legacy generator (parameters, inputs) is drawn again and checked against the CRC-32 of the
original arrays; outputs and gradients are stored. See tests/data/goldens/README.md.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
from flax import linen as nn

from musclemap_jax.models.video.mvit import MViTSpec

FOLDER = Path(__file__).parent.parent / "data" / "goldens"

TINY_SPEC = MViTSpec(depth=4, embed_dim=16, stages=(1, 3), kv_stride=(1, 4, 4), input_size=(4, 32, 32))
"""The architecture of mvit_tiny, mct20_tiny, mct40_tiny and of both streams of transm3e_tiny."""


@functools.cache
def recipes() -> dict:
    """Seeds, names and shapes of what is drawn again."""
    return json.loads((FOLDER / "recipes.json").read_text())


@functools.cache
def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden file under their original names: stored ones and those drawn again."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    recipe = recipes().get(name, {})
    drawn = {}
    if "arrays" in recipe:
        rng = np.random.RandomState(recipe["seed"])
        drawn = {key: rng.standard_normal(shape).astype(np.float32) for key, shape in recipe["arrays"]}
    elif "seed" in recipe:
        rng = np.random.RandomState(recipe["seed"])
        for key, shape in recipe["params"]:
            drawn[f"p/{key}"] = _tiny_parameter(key, rng.standard_normal(shape)).astype(np.float32)
        drawn["x"] = _tiny_input(recipe["input_seed"], recipe["input_shape"])
    if drawn and _crc32(drawn.values()) != recipe["crc32"]:
        raise AssertionError(f"{name}: arrays drawn again differ from the original ones")
    return arrays | drawn


def full_size() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Parameters and input (1, 3, 16, 224, 224) of mvitv2s_full."""
    recipe = recipes()["mvitv2s_full"]
    parameters = {}
    for name, shape in recipe["params"]:
        value = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape) * 0.02
        parameters[name] = (value + _is_norm_weight(name)).astype(np.float32)
    for name, value in recipe["spot"].items():
        if parameters[name].flat[0] != np.float32(value):
            raise AssertionError(f"{name}: drawn again differs from the original")
    video = np.random.RandomState(recipe["input_seed"]).standard_normal(recipe["input_shape"])
    return parameters, video.astype(np.float32)


def random_parameters(module: nn.Module, *inputs: np.ndarray, **named: np.ndarray) -> dict:
    """Parameters of a module without compiling its initialisation: normal, larger than at the start of training."""
    rng = np.random.default_rng(0)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        value = rng.standard_normal(leaf.shape).astype(leaf.dtype) * 0.1
        return value + 1 if path[-1].key == "scale" else value

    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs, **named)
    return jax.tree_util.tree_map_with_path(draw, shapes.get("params", {}))


def under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose name begins with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def to_flax(arrays: dict[str, np.ndarray]) -> dict:
    """PyTorch parameters, or their gradients, by PySlowFast's names -> tree of our models' parameters."""
    tree = {}
    for name, value in arrays.items():
        *path, leaf = _flax_path(name, value.ndim)
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = _flax_value(name, value)
    return tree


def channels_last(video: np.ndarray) -> np.ndarray:
    """(B, C, T, H, W) -> (B, T, H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(video, 1, -1))


def assert_close(
    actual: np.ndarray, expected: np.ndarray, tolerance: float, what: str = "", floor: float = 1e-30
) -> None:
    """Fails when the largest difference is above the tolerance times the largest expected value, at least `floor`."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    error = np.abs(actual - expected).max() / max(np.abs(expected).max(), floor)
    assert error <= tolerance, f"{what}: relative error {error:.2e} above {tolerance:.0e}"


def assert_trees_close(actual: dict, expected: dict, tolerance: float, path: str = "", floor: float = 0.05) -> None:
    """`assert_close` for every leaf of two trees with the same names.

    The bias of the keys' norm shifts all logits of a query alike, so its gradient is zero but for rounding: leaves
    below `floor` are compared as if their largest value were that.
    """
    assert set(actual) == set(expected), f"{path}: {sorted(set(actual) ^ set(expected))} on one side only"
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_trees_close(actual[name], value, tolerance, f"{path}/{name}", floor)
        else:
            assert_close(actual[name], value, tolerance, f"{path}/{name}", floor)


def _crc32(arrays: Iterable[np.ndarray]) -> int:
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    return checksum


def _is_norm_weight(name: str) -> bool:
    return "norm" in name and name.endswith("weight")


def _tiny_parameter(name: str, draw: np.ndarray) -> np.ndarray:
    if _is_norm_weight(name):
        return 1 + 0.2 * draw
    if name.startswith("cls_token"):
        return 0.5 * draw
    if "rel_pos" in name or "pool_" in name:
        return 0.3 * draw
    if name.endswith("bias"):
        return 0.1 * draw
    return draw * np.prod(draw.shape[1:]) ** -0.5


def _tiny_input(seed: int, shape: list[int]) -> np.ndarray:
    video = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    if shape[1] == 6:  # three channels of RGB, three that stand for the RGB difference
        video[:, 3:] = np.abs(video[:, 3:])
        video[:, 3:, 0] = 0
    return video


def _flax_path(name: str, ndim: int) -> list[str]:
    if name in ("cls_token", "cls_token_distill"):
        return ["class_tokens", "classification" if name == "cls_token" else "receiver"]
    path = name.replace("blocks.", "blocks_").replace("proj.0", "proj_0").replace("proj.2", "proj_2").split(".")
    if path[-1] == "weight":
        if "pool_" in name:
            return path[:-1]
        path[-1] = "scale" if _is_norm_weight(name) else "kernel"
    return path


def _flax_value(name: str, value: np.ndarray) -> np.ndarray:
    if "pool_" in name:
        return value[:, 0].transpose(1, 2, 3, 0)
    if name.endswith("weight") and value.ndim == 5:
        return value.transpose(2, 3, 4, 1, 0)
    if name.endswith("weight") and not _is_norm_weight(name):
        return value.T
    return value
