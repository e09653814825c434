"""The lists of the authors' release: pickled paths of videos, and pickled muscle indices.

``musclemap_jax.storage.restricted_pickle`` reads them without running code: lists, tuples, text, integers and numpy's
integer scalars and arrays, as Python 2 and 3 and numpy 1 and 2 write them in every protocol. Anything else is an error
that names the unsupported opcode. Memory is bounded by the file's size, which is itself bounded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_jax import taxonomy
from musclemap_jax.errors import UserError
from musclemap_jax.storage.restricted_pickle import Name, read_pickle

MAX_FILE_BYTES = 32 << 20
"""The paths of all 15,004 clips take about 3 MB."""

MAX_STEPS = 3_000_000
"""Largest number of opcodes in one list's pickle; all clips of the data set with twenty numpy integers each take 2.4
million. The worst list within the bounds takes about 4 s and 300 MB before it is refused."""

MAX_CLIPS = 200_000
"""Largest number of clips in one split: 13 times the whole data set."""

MAX_PATH_LENGTH = 4096
ALLOWED = "save a list that contains only lists, tuples, text, integers and numpy's integers"

REFUSED = (
    *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "FLOAT", "BINFLOAT", "BINPERSID"),
    *("PERSID", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EMPTY_SET", "ADDITEMS", "FROZENSET"),
)
_OPCODES = {type(None): "NONE", bool: "NEWTRUE or NEWFALSE", bytes: "BINBYTES", bytearray: "BYTEARRAY8"}
"""Opcodes of the values that only numpy's own pickles need: as items of a list they are refused too."""

_INTEGERS = tuple(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))


class _Dtype:
    """A pickled integer dtype; its state gives the byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        if code not in _INTEGERS:
            dtype = f"numpy dtype {str(code)[:20]!r}"
            raise UserError(f"the pickle contains the {dtype} (opcode REDUCE), which is not allowed: {ALLOWED}")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("invalid state of a dtype")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A pickled array, empty until its state is set."""

    def __init__(self, *_: Any) -> None:
        self.values: np.ndarray = np.zeros(0, np.int64)

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("invalid state of an array")
        _, shape, dtype, is_fortran, content = state
        self.values = _array(content, dtype, shape, "F" if is_fortran else "C")


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray):
        raise ValueError("invalid content of an array")
    lengths_known = isinstance(shape, tuple) and len(shape) <= 2 and all(type(length) is int for length in shape)
    if not lengths_known or min(shape, default=0) < 0 or math.prod(shape) * dtype.dtype.itemsize != len(content):
        raise ValueError("invalid shape of an array")
    return np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.values = _array(content, dtype, shape, order)
    return array


def _scalar(dtype: Any, content: Any) -> int:
    return int(_array(content, dtype, (1,), "C")[0])


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Protocols below 3 have no bytes: they write text and a call of this function."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


FUNCTIONS: dict[str, Callable[..., Any] | None] = {
    "numpy.dtype": _Dtype,
    "numpy.ndarray": None,
    "_codecs.encode": _encode,
    **{
        f"numpy.{core}.{name}": function
        for core in ("core", "_core")
        for name, function in (
            ("multiarray.scalar", _scalar),
            ("multiarray._reconstruct", _Array),
            ("numeric._frombuffer", _frombuffer),
        )
    },
}
"""Each name that a list's pickle may mention -> the function that it stands for."""


def read_paths(path: str | Path) -> list[str]:
    """Reads a pickled list of video paths, unchanged.

    Raises UserError, naming the file, if it cannot be read, is not such a list, or exceeds a limit.
    """
    paths = []
    for number, item in _items(Path(path)):
        if type(item) is not str or not 1 <= len(item) <= MAX_PATH_LENGTH or not _is_unicode(item):
            raise UserError(f"{path}: item {number}: expected the path of a video, got {_what(item)}")
        paths.append(item)
    return paths


def read_labels(path: str | Path) -> list[tuple[int, ...]]:
    """Reads a pickled list that holds a list of muscle indices, 0 to 19, for each video.

    Returns each video's distinct indices, ascending. Raises UserError as ``read_paths`` does, or for an index that is
    out of range or repeated, or a video without any.
    """
    last = taxonomy.NUM_REGIONS - 1
    labels = []
    for number, item in _items(Path(path)):
        expected = f"{path}: item {number}: expected a list of muscle indices from 0 to {last}"
        indices = item.values if isinstance(item, _Array) and item.values.ndim == 1 else item
        if not isinstance(indices, list | tuple | np.ndarray):
            raise UserError(f"{expected}, got {_what(indices)}")
        if not 1 <= len(indices) <= taxonomy.NUM_REGIONS:
            raise UserError(f"{expected}, 1 to {taxonomy.NUM_REGIONS} of them, got {len(indices):,}")
        indices = indices.tolist() if isinstance(indices, np.ndarray) else indices
        for index in indices:
            if type(index) is not int or not 0 <= index <= last:
                raise UserError(f"{expected}, got {_what(index)} among them")
        if len(set(indices)) != len(indices):
            raise UserError(f"{expected}, each once, got {', '.join(map(str, indices))}")
        labels.append(tuple(sorted(indices)))
    return labels


def _items(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields (number, item) of a file's list."""
    value = _read(path)
    if isinstance(value, _Array) and value.values.size <= MAX_CLIPS * taxonomy.NUM_REGIONS:
        value = value.values.tolist()
    if not isinstance(value, list | tuple):
        raise UserError(f"{path}: expected a pickled list, got {_what(value)}")
    if not 1 <= len(value) <= MAX_CLIPS:
        raise UserError(f"{path}: expected a list of 1 to {MAX_CLIPS:,} items, got {len(value):,}")
    yield from enumerate(value)


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            num_bytes = os.fstat(file.fileno()).st_size
            data = file.read(num_bytes) if num_bytes <= MAX_FILE_BYTES else b""
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if num_bytes > MAX_FILE_BYTES:
        raise UserError(f"{path}: expected a pickled list of at most {MAX_FILE_BYTES:,} bytes, got {num_bytes:,}")
    try:
        return read_pickle(data, FUNCTIONS, refused=REFUSED, max_steps=MAX_STEPS, allowed=ALLOWED)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _is_unicode(text: str) -> bool:
    """False for halves of surrogate pairs, which a pickle may contain but a file name may not."""
    return text.encode("utf-8", "ignore").decode() == text


def _what(value: Any) -> str:
    """A value as an error message shows it, shortened."""
    if type(value) in _OPCODES:
        return f"{type(value).__name__} (opcode {_OPCODES[type(value)]})"
    if isinstance(value, str):
        return repr(value[:60]) if value else "empty text"
    if type(value) is int:
        return str(value) if abs(value) < 10**18 else "a huge number"
    if isinstance(value, Name):
        return f"the name {value.name} (opcode GLOBAL)"
    return {"_Array": "an array", "_Dtype": "a numpy dtype"}.get(type(value).__name__, f"a {type(value).__name__}")
