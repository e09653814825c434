"""Tensors of a file that `torch.save` wrote, read without PyTorch and without executing code in the file.

Source: PyTorch's `torch/serialization.py` and `torch/_utils.py` for the meaning of the pickle's names. Tensors are read
from the mapped file on demand; before that, their declared sizes are checked against the storage's size. Objects of
classes other than tensors, containers and numpy's arrays, such as the settings of a training framework, become inert
placeholders.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.torch_archive import TorchArchive
from musclemap_jax.storage.pickled_arrays import BOOLEANS, FLOATS, INTEGERS, array_functions
from musclemap_jax.storage.placeholders import Placeholder
from musclemap_jax.storage.restricted_pickle import KEY_TYPES, Name, read_pickle

MAX_PICKLE_BYTES = 32 << 20
ALLOWED = "save the model's state_dict alone; if you did not write the file, it may be meant to do harm"
MAX_DIMENSIONS = 16
MAX_COUNT = 2**62

STORAGES: dict[str, np.dtype] = {
    "torch.DoubleStorage": np.dtype(np.float64),
    "torch.FloatStorage": np.dtype(np.float32),
    "torch.HalfStorage": np.dtype(np.float16),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.LongStorage": np.dtype(np.int64),
    "torch.IntStorage": np.dtype(np.int32),
    "torch.ShortStorage": np.dtype(np.int16),
    "torch.CharStorage": np.dtype(np.int8),
    "torch.ByteStorage": np.dtype(np.uint8),
    "torch.BoolStorage": np.dtype(np.bool_),
    "torch.ComplexFloatStorage": np.dtype(np.complex64),
    "torch.ComplexDoubleStorage": np.dtype(np.complex128),
}


@dataclasses.dataclass(frozen=True)
class Storage:
    """A one-dimensional array of `size` elements in an entry of the archive."""

    archive: TorchArchive
    entry: str
    dtype: np.dtype
    size: int


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor that has not been read yet; it lies within its storage. Offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Returns a copy of the tensor's elements; UserError if its part of the file is damaged."""
        storage = self.storage
        content = storage.archive.view(storage.entry)
        flat = np.frombuffer(content, storage.dtype, storage.size)[self.offset :]
        strides = [stride * storage.dtype.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False).copy()


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_COUNT


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= MAX_DIMENSIONS and all(_is_count(value) for value in values)


def _storage(archive: TorchArchive, identity: Any) -> Storage | Placeholder:
    """The storage that a persistent id names; a placeholder for one of a dtype that is not read."""
    if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
        raise UserError("a reference to something other than a storage")
    _, kind, key, _, size = identity
    if isinstance(kind, Name) and kind.name.endswith("Storage") and kind.name not in STORAGES:
        return Placeholder(kind.name)
    if not isinstance(kind, Name) or kind.name not in STORAGES or not isinstance(key, str) or not _is_count(size):
        raise UserError("a storage of unknown kind, name or size")
    dtype, entry = STORAGES[kind.name], f"data/{key}"
    if not archive.has(entry) or size * dtype.itemsize > archive.size(entry):
        found = f"{archive.size(entry):,}" if archive.has(entry) else "no"
        raise UserError(f"storage {key[:100]!r} of {size:,} x {dtype} has {found} bytes")
    return Storage(archive, entry, dtype, size)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor | Placeholder:
    if isinstance(storage, Placeholder):
        return storage
    if not (isinstance(storage, Storage) and _is_count(offset) and _are_counts(shape) and _are_counts(strides)):
        raise UserError("a tensor with an invalid storage, offset, shape or strides")
    size, last = math.prod(shape), offset
    if len(shape) == len(strides):
        last += sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    # With more elements than the storage it is an expanded tensor, whose copy could have any size.
    if len(shape) != len(strides) or offset > storage.size or (size and (last >= storage.size or size > storage.size)):
        raise UserError(
            f"a tensor of shape {shape}, strides {strides}, offset {offset} does not fit its storage {storage.entry} "
            f"of {storage.size:,} elements: damaged, or saved without .contiguous()"
        )
    return StoredTensor(storage, offset, shape, strides)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, (list, tuple)) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], KEY_TYPES) for pair in pairs
    ):
        raise UserError("an OrderedDict not made of pairs")
    return dict(pairs)


def _rebuild_subclass(function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor of a class derived from torch's, or one with attributes."""
    rebuild = FUNCTIONS.get(function.name) if isinstance(function, Name) else None
    if rebuild is None or rebuild is _rebuild_subclass or not isinstance(arguments, tuple):
        return Placeholder("torch.Tensor")
    return rebuild(*arguments)


FUNCTIONS: dict[str, Callable[..., Any] | None] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": lambda *_: {},
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._tensor._rebuild_from_type_v2": _rebuild_subclass,
    "torch.Size": lambda shape=(): shape,
    **array_functions((*INTEGERS, *FLOATS, *BOOLEANS), MAX_DIMENSIONS, allowed=None),
    **dict.fromkeys(STORAGES),
}
"""Meaning of each name that a pickle may contain; any other one stands for a placeholder."""


def read_torch_file(path: str | os.PathLike) -> Any:
    """Reads a `.pt`, `.pth` or `.pyth` file of PyTorch 1.6 or later.

    Returns:
      The saved object: nested plain containers with a `StoredTensor` in place of each tensor, a `PickledArray` in place
      of each array of numpy, and a `Placeholder` in place of each object of another class.

    Raises:
      UserError: The file is of another kind, damaged or harmful; one line that names the file.
    """
    archive = TorchArchive(path)
    data = archive.read("data.pkl", MAX_PICKLE_BYTES)
    try:
        return read_pickle(data, FUNCTIONS, functools.partial(_storage, archive), placeholders=True, allowed=ALLOWED)
    except UserError as error:
        raise archive.fault(f"data.pkl: {error}") from error
