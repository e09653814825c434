"""The arrays of a checkpoint file by their published names, whatever the file's format.

Reads PyTorch's zip format (torch_file.py) and safetensors. Wrappers such as PySlowFast's {"model_state": ..., "cfg":
...} are removed, as is the prefix `module.` of models that were trained on several devices.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes  # noqa: F401  (makes numpy, and so safetensors, know bfloat16)
import numpy as np
from safetensors import SafetensorError, safe_open

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.torch_file import StoredTensor, read_torch_file

WRAPPERS = ("model_state", "state_dict", "model_state_dict", "model")
"""Keys under which checkpoints hold the model, next to other things such as the optimizer's state."""

PARALLEL_PREFIX = "module."
MAX_DEPTH, MAX_LEAVES, MAX_NAME = 8, 200_000, 1000


class SourceTensor(Protocol):
    """An array in a file; `read` returns a copy."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Attributes:
      tensors: Arrays by published name.
      other: Names of values that are not arrays, such as numbers or text.
    """

    tensors: Mapping[str, SourceTensor]
    other: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ArrayTensor:
    """An array in memory in place of one in a file."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def read(self) -> np.ndarray:
        return self.array


@dataclasses.dataclass(frozen=True)
class _SafeTensor:
    file: Any
    path: Path
    name: str
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        try:
            return self.file.get_tensor(self.name)
        except (SafetensorError, TypeError) as error:
            raise UserError(f"{self.path}: {self.name}: {error}") from error


def read_safetensors(path: str | os.PathLike) -> dict[str, SourceTensor]:
    """Opens a safetensors file; arrays are read on demand.

    Raises:
      UserError: The file is absent or damaged.
    """
    path = Path(path)
    try:
        file = safe_open(path, framework="numpy")
        return {
            name: _SafeTensor(file, path, name, tuple(file.get_slice(name).get_shape())) for name in list(file.keys())
        }
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file: {error}") from error


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Reads a checkpoint: `.safetensors`, and anything else as a file of PyTorch.

    Raises:
      UserError: The file is absent, damaged, refused, or holds no array.
    """
    path = Path(path)
    tree = read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)
    tree = _unwrapped(tree)
    tensors: dict[str, SourceTensor] = {}
    other = []
    for name, leaf in _leaves(tree, path):
        if isinstance(leaf, (StoredTensor, _SafeTensor)):
            tensors[name] = leaf
        else:
            other.append(name)
    if not tensors:
        raise UserError(f"{path}: holds no named arrays: expected a state_dict, alone or under {', '.join(WRAPPERS)}")
    if all(name.startswith(PARALLEL_PREFIX) for name in tensors):
        tensors = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in tensors.items()}
    return Checkpoint(tensors, tuple(other))


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
