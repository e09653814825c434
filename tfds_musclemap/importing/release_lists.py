"""The lists of the authors' release: pickled paths of videos, and pickled muscle indices.

``musclemap_jax.storage.restricted_pickle`` reads them without running code: lists, tuples, text, integers and numpy's
integer scalars and arrays, as Python 2 and 3 and numpy 1 and 2 write them in every protocol. Anything else is an error
that names the unsupported opcode. Memory is bounded by the file's size, which is itself bounded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_jax import taxonomy
from musclemap_jax.errors import UserError
from musclemap_jax.storage.pickled_arrays import INTEGERS, PickledArray, array_functions
from musclemap_jax.storage.regular_file import check_regular_file
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

FUNCTIONS = array_functions(INTEGERS, 2, ALLOWED)
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
        indices = item.values if isinstance(item, PickledArray) and item.values.ndim == 1 else item
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
    if isinstance(value, PickledArray) and value.values.size <= MAX_CLIPS * taxonomy.NUM_REGIONS:
        value = value.values.tolist()
    if not isinstance(value, list | tuple):
        raise UserError(f"{path}: expected a pickled list, got {_what(value)}")
    if not 1 <= len(value) <= MAX_CLIPS:
        raise UserError(f"{path}: expected a list of 1 to {MAX_CLIPS:,} items, got {len(value):,}")
    yield from enumerate(value)


def _read(path: Path) -> Any:
    try:
        check_regular_file(path)
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
    return {"PickledArray": "an array", "PickledDtype": "a numpy dtype"}.get(
        type(value).__name__, f"a {type(value).__name__}"
    )
