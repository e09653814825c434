"""Arrays and numbers of numpy in a pickle, rebuilt by functions of ours; numpy's own are never called.

Source: what numpy 1 and 2 write under Python 2 and 3, in every protocol. An array's content is a view of the pickle's
bytes, and its shape is checked against them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

INTEGERS = tuple(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))
NUMBERS = (*INTEGERS, "f2", "f4", "f8", "b1")
"""Codes of dtypes."""


class PickledDtype:
    """A dtype whose byte order comes with its state; `dtype` is None for one that is not read, such as of objects."""

    def __init__(self, dtype: np.dtype | None) -> None:
        self.dtype = dtype

    def set_state(self, state: Any) -> None:
        """Takes the byte order, which is the second item."""
        if self.dtype is None:
            return
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("invalid state of a dtype")
        self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray:
    """An array; `values` is None before its state is set, and stays None if its dtype is not read."""

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values

    def set_state(self, state: Any) -> None:
        """Takes version, shape, dtype, order and content."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("invalid state of an array")
        _, shape, dtype, is_fortran, content = state
        self.values = _array(content, dtype, shape, "F" if is_fortran else "C")


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray | None:
    if not isinstance(dtype, PickledDtype):
        raise ValueError("invalid dtype of an array")
    if dtype.dtype is None:
        return None
    lengths_known = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    if not isinstance(content, bytes | bytearray) or not lengths_known:
        raise ValueError("invalid content of an array")
    if math.prod(shape) * dtype.dtype.itemsize != len(content):
        raise ValueError("invalid shape of an array")
    return np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    return PickledArray(_array(content, dtype, shape, order))


def _scalar(dtype: Any, content: Any = b"") -> int | float | bool | None:
    array = _array(content, dtype, (1,), "C")
    return None if array is None else array.item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Protocols below 3 have no bytes: they write text and a call of this function."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How protocols below 3 write bytes of length 0."""
    return b""


def array_functions(
    codes: Collection[str], unknown: Callable[[str], None] = lambda code: None
) -> dict[str, Callable[..., Any] | None]:
    """The functions by which `restricted_pickle.read_pickle` reads numpy's arrays and numbers.

    Args:
      codes: The dtypes that are read, such as ``f4``.
      unknown: Called with the code of another one, which it may refuse by an error.

    Returns:
      {name in the pickle: function}; arrays become `PickledArray`, numbers Python's, those of other dtypes None.
    """

    def dtype(code: Any, *_: Any) -> PickledDtype:
        if isinstance(code, str) and code in codes:
            return PickledDtype(np.dtype(code))
        unknown(code[:20] if isinstance(code, str) else "?")
        return PickledDtype(None)

    functions: dict[str, Callable[..., Any] | None] = {
        "numpy.dtype": dtype,
        "numpy.ndarray": None,
        "_codecs.encode": _encode,
        "builtins.bytes": _no_bytes,
        "__builtin__.bytes": _no_bytes,
    }
    for core in ("core", "_core"):
        functions |= {
            f"numpy.{core}.multiarray.scalar": _scalar,
            f"numpy.{core}.multiarray._reconstruct": lambda *_: PickledArray(),
            f"numpy.{core}.numeric._frombuffer": _frombuffer,
        }
    return functions
