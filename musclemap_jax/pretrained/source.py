"""The arrays of a checkpoint file by their names, whatever the file's format.

Reads PyTorch's zip format (torch_file.py), safetensors and Flax's msgpack (flax_file.py), told apart by content. A name
is the path to an array through all containers, joined by dots: `model_state.blocks.0.norm1.weight`. What training
wrappers put in the middle of it is left out, and which part of it is the model's own name follows from the table of
published names (prefixes.py).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ml_dtypes  # noqa: F401  (makes numpy, and so safetensors, know bfloat16)
import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.flax_file import is_flax_file, read_flax_file
from musclemap_jax.pretrained.torch_file import StoredTensor, read_torch_file
from musclemap_jax.storage.files import local_copy
from musclemap_jax.storage.pickled_arrays import PickledArray
from musclemap_jax.storage.placeholders import Placeholder

TRANSPARENT = frozenset(
    {
        *("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"),
        *("_modules", "_parameters", "_buffers"),
    }
)
"""Parts of names that belong to no model.

They come from torch.compile, from wrappers for sharding and remat, and from modules that were saved whole instead of
their state_dict.
"""

MAX_DEPTH, MAX_LEAVES, MAX_NAME = 64, 200_000, 1000
_HEADER_BYTES = 9


@dataclasses.dataclass(frozen=True)
class SourceTensor:
    """An array in a file; `read` returns a copy."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Arrays of a checkpoint file by name, and the names of other values, such as numbers or text."""

    tensors: Mapping[str, SourceTensor]
    other: tuple[str, ...] = ()


def read_safetensors(path: epath.PathLike) -> dict[str, SourceTensor]:
    """Opens a safetensors file, local or on cloud storage; arrays are read on demand.

    Raises:
      UserError: The file is absent or damaged.
    """

    def read(name: str) -> np.ndarray:
        try:
            return file.get_tensor(name)
        except (SafetensorError, TypeError) as error:
            raise UserError(f"{path}: {name}: {error}") from error

    try:
        with local_copy(path) as local:
            file = safe_open(local, framework="numpy")  # maps the file, which may be removed from then on
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in list(file.keys())}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file: {error}") from error
    return {name: SourceTensor(shape, functools.partial(read, name)) for name, shape in shapes.items()}


def read_checkpoint(path: epath.PathLike) -> Checkpoint:
    """Reads a checkpoint: a file of safetensors, Flax or PyTorch, whatever it is called, local or on cloud storage.

    Raises:
      UserError: The file is absent, damaged, refused, or holds no array.
    """
    if _is_safetensors(path):
        tree = read_safetensors(path)
    else:
        tree = read_flax_file(path) if is_flax_file(path) else read_torch_file(path)
    tensors: dict[str, SourceTensor] = {}
    other = []
    for name, leaf in _leaves(tree, os.fspath(path)):
        if isinstance(leaf, PickledArray) and leaf.is_read:
            leaf = leaf.values
        if isinstance(leaf, np.ndarray):
            leaf = SourceTensor(leaf.shape, leaf.copy)
        if not isinstance(leaf, (SourceTensor, StoredTensor)):
            other.append(name)
        elif name in tensors:
            raise UserError(f"{path}: holds {name[:100]} twice, with and without a wrapper's name in it")
        else:
            tensors[name] = SourceTensor(leaf.shape, leaf.read)
    if not tensors:
        raise UserError(f"{path}: holds no named arrays: expected a model's state_dict, alone or beside other things")
    return Checkpoint(tensors, tuple(other))


def _is_safetensors(path: epath.PathLike) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON object, and the object."""
    try:
        with epath.Path(path).open("rb") as file:
            start = file.read(_HEADER_BYTES)
    except OSError:
        start = b""
    is_zip = start[:4] == b"PK\x03\x04"
    return start[8:] == b"{" or (not is_zip and os.fspath(path).endswith(".safetensors"))


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields names and leaves of nested containers, in order; containers may be shared or contain themselves."""
    levels, visits = [iter([("", tree)])], 0
    while levels:
        if (step := next(levels[-1], None)) is None:
            levels.pop()
            continue
        name, node = step
        visits += 1
        if visits > MAX_LEAVES or len(levels) > MAX_DEPTH or len(name) > MAX_NAME:
            raise UserError(
                f"{path}: more than {MAX_LEAVES:,} values, {MAX_DEPTH} levels or {MAX_NAME} letters in a name, at "
                f"{name[:100]!r}: save the model's state_dict alone"
            )
        if not name.isprintable():
            raise UserError(f"{path}: {name[:100]!r} is not the name of an array")
        children = _children(node)
        if children is None:
            yield ".".join(part for part in name.split(".") if part not in TRANSPARENT), node
        else:
            levels.append(_named(f"{name}." if name else "", children))


def _named(prefix: str, children: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    for key, child in children:
        yield f"{prefix}{_text(key)}", child


def _children(node: Any) -> Iterable[tuple[Any, Any]] | None:
    """Keys and contents of a container or of an object that was read as a placeholder; None for anything else."""
    match node:
        case dict():
            return node.items()
        case list() | tuple():
            return enumerate(node)
        case Placeholder():
            return itertools.chain(node.items.items(), node.state.items())
    return None


def _text(key: Any) -> str:
    """A key as part of a name."""
    if isinstance(key, str):
        return key
    return str(key) if isinstance(key, int) and abs(key) < 2**63 else f"<{type(key).__name__}>"
