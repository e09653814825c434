"""Numpy's arrays and numbers in pickles, for `restricted_pickle`: as numpy 1 and 2 write them in every protocol.

They are rebuilt by the functions here; numpy's own are never called. An array's content is a view of the pickle's
bytes, and its shape is checked against them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from musclemap_jax.errors import UserError

INTEGERS = tuple(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))
FLOATS = ("f2", "f4", "f8")
BOOLEANS = ("b1",)
"""Numpy's codes of kinds of numbers."""


class PickledArray:
    """A pickled array, empty until its state is set.

    Attributes:
      values: The array.
      is_read: Whether its state was set, and its dtype is one of those that are read.
    """

    def __init__(self, max_dimensions: int) -> None:
        self.values: np.ndarray = np.zeros(0, np.int64)
        self.is_read = False
        self._max_dimensions = max_dimensions

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("invalid state of an array")
        _, shape, dtype, is_fortran, content = state
        self.fill(content, dtype, shape, "F" if is_fortran else "C")

    def fill(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        """Takes the array's content, unless its dtype is not read; ValueError if it is invalid."""
        if (values := _array(content, dtype, shape, order, self._max_dimensions)) is not None:
            self.values, self.is_read = values, True


class PickledDtype:
    """A pickled dtype; its state gives the byte order. `dtype` is None for one that is not read."""

    def __init__(self, code: str | None) -> None:
        self.dtype = None if code is None else np.dtype(code)

    def set_state(self, state: Any) -> None:
        if self.dtype is None:
            return
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("invalid state of a dtype")
        self.dtype = self.dtype.newbyteorder(state[1])


def array_functions(
    dtypes: Collection[str], max_dimensions: int, allowed: str | None
) -> dict[str, Callable[..., Any] | None]:
    """The functions that `read_pickle` needs for numpy's arrays and numbers.

    Args:
      dtypes: Codes of the kinds of numbers that may occur.
      max_dimensions: The largest number of an array's axes.
      allowed: What the pickle may contain and how to fix it, for the error about another kind of numbers; with None,
        arrays of other kinds stay empty (`is_read` False), and single numbers become None.
    """

    def make_dtype(code: Any, *_: Any) -> PickledDtype:
        if isinstance(code, str) and code in dtypes:
            return PickledDtype(code)
        if allowed is None:
            return PickledDtype(None)
        dtype = f"numpy dtype {code[:20] if isinstance(code, str) else '?'!r}"
        raise UserError(f"the pickle contains the {dtype} (opcode REDUCE), which is not allowed: {allowed}")

    def reconstruct(*_: Any) -> PickledArray:
        return PickledArray(max_dimensions)

    def from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
        array = PickledArray(max_dimensions)
        array.fill(content, dtype, shape, order)
        return array

    def scalar(dtype: Any, content: Any = b"") -> int | float | bool | None:
        array = _array(content, dtype, (1,), "C", max_dimensions)
        return None if array is None else array[0].item()

    return {
        "numpy.dtype": make_dtype,
        "numpy.ndarray": None,
        "_codecs.encode": _encode,
        "builtins.bytes": _no_bytes,
        "__builtin__.bytes": _no_bytes,
        **{
            f"numpy.{core}.{name}": function
            for core in ("core", "_core")
            for name, function in (
                ("multiarray.scalar", scalar),
                ("multiarray._reconstruct", reconstruct),
                ("numeric._frombuffer", from_buffer),
            )
        },
    }


def _array(content: Any, dtype: Any, shape: Any, order: Any, max_dimensions: int) -> np.ndarray | None:
    """The array; None if its dtype is not read, and ValueError if it is invalid."""
    if not isinstance(dtype, PickledDtype):
        raise ValueError("invalid dtype of an array")
    if dtype.dtype is None:
        return None
    if not isinstance(content, bytes | bytearray):
        raise ValueError("invalid content of an array")
    is_shape = isinstance(shape, tuple) and len(shape) <= max_dimensions
    if not is_shape or not all(type(length) is int for length in shape):
        raise ValueError("invalid shape of an array")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.dtype.itemsize != len(content):
        raise ValueError("invalid shape of an array")
    return np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Protocols below 3 have no bytes: they write text and a call of this function."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How protocols below 3 write the content of an empty array."""
    return b""
