"""The arrays of a checkpoint file by their published names, whatever the file's format.

Reads PyTorch's zip format (torch_file.py) and safetensors. Wrappers such as PySlowFast's {"model_state": ..., "cfg":
...} are removed, as is the prefix `module.` of models that were trained on several devices.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (makes numpy, and so safetensors, know bfloat16)
import numpy as np
from safetensors import SafetensorError, safe_open

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.torch_file import StoredTensor, read_torch_file

WRAPPERS = ("model_state", "state_dict", "model_state_dict", "model")
"""Keys under which checkpoints hold the model, next to other things such as the optimizer's state."""

PARALLEL_PREFIX = "module."
MAX_DEPTH, MAX_LEAVES, MAX_NAME = 8, 200_000, 1000


@dataclasses.dataclass(frozen=True)
class SourceTensor:
    """An array in a file; `read` returns a copy."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Arrays of a checkpoint file by published name, and the names of other values, such as numbers or text."""

    tensors: Mapping[str, SourceTensor]
    other: tuple[str, ...] = ()


def read_safetensors(path: str | os.PathLike) -> dict[str, SourceTensor]:
    """Opens a safetensors file; arrays are read on demand.

    Raises:
      UserError: The file is absent or damaged.
    """

    def read(name: str) -> np.ndarray:
        try:
            return file.get_tensor(name)
        except (SafetensorError, TypeError) as error:
            raise UserError(f"{path}: {name}: {error}") from error

    try:
        file = safe_open(path, framework="numpy")
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in list(file.keys())}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file: {error}") from error
    return {name: SourceTensor(shape, functools.partial(read, name)) for name, shape in shapes.items()}


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Reads a checkpoint: `.safetensors`, and anything else as a file of PyTorch.

    Raises:
      UserError: The file is absent, damaged, refused, or holds no array.
    """
    path = Path(path)
    tree = read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)
    leaves = list(_leaves(_unwrapped(tree), path))
    tensors = {
        name: SourceTensor(leaf.shape, leaf.read)
        for name, leaf in leaves
        if isinstance(leaf, (SourceTensor, StoredTensor))
    }
    if not tensors:
        raise UserError(f"{path}: holds no named arrays: expected a state_dict, alone or under {', '.join(WRAPPERS)}")
    other = tuple(name for name, _ in leaves if name not in tensors)
    if all(name.startswith(PARALLEL_PREFIX) for name in tensors):
        tensors = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in tensors.items()}
    return Checkpoint(tensors, other)


def _unwrapped(tree: Any) -> Any:
    for _ in range(MAX_DEPTH):
        inner = next((name for name in WRAPPERS if isinstance(tree, dict) and isinstance(tree.get(name), dict)), None)
        if inner is None:
            return tree
        tree = tree[inner]
    return tree


def _leaves(tree: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Yields names and leaves of nested containers, in order; containers may be shared or contain themselves."""
    waiting, visits = [("", 0, tree)], 0
    while waiting:
        name, depth, node = waiting.pop()
        visits += 1
        if visits > MAX_LEAVES or depth > MAX_DEPTH or len(name) > MAX_NAME:
            raise UserError(
                f"{path}: more than {MAX_LEAVES:,} values, {MAX_DEPTH} levels or {MAX_NAME} letters in a name, at "
                f"{name[:100]!r}: save the model's state_dict alone"
            )
        if not name.isprintable():
            raise UserError(f"{path}: {name[:100]!r} is not the name of an array")
        if isinstance(node, (dict, list, tuple)):
            items = node.items() if isinstance(node, dict) else enumerate(node)
            inner = [(f"{name}.{key}" if depth else str(key), depth + 1, value) for key, value in items]
            waiting += reversed(inner)
        else:
            yield name, node
