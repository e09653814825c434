"""A pickle reader that builds only plain containers and what functions of the caller return.

Source: the pickle protocol, as listed by the standard library's `pickletools`. A pickle is a program, and Python's own
unpickler imports and calls whatever it names. This reader steps through the program and supports only the opcodes for
containers, numbers and text. It never imports anything: a name in the pickle stands for one of the caller's functions,
and any other name is refused. It reads PyTorch's checkpoints (``pretrained/torch_file.py``) and the data set's lists
(``tfds_musclemap/importing/release_lists.py``).
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, runtime_checkable

from musclemap_jax.errors import UserError

MAX_STEPS = 1_000_000
"""Largest number of opcodes in a checkpoint's pickle: bounds its time (seconds) and memory (about 100 MB). HD-GCN with
Adam's state takes about 200,000."""

KEY_TYPES = (str, int, float, bool, bytes, type(None))
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_FIXED_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Name:
    """A name that the pickle refers to, such as ``torch.FloatStorage``."""

    def __init__(self, name: str) -> None:
        self.name = name


@runtime_checkable
class Stateful(Protocol):
    """An object whose state comes after its construction, as numpy's do; the caller's functions may return one."""

    def set_state(self, state: Any) -> None:
        """Takes the state, a plain value; raises ValueError or TypeError if it is invalid."""


class _Refused(Exception):
    """The pickle contains something unsupported, which the message names."""


class _Machine:
    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any] | None],
        persistent: Callable[[Any], Any] | None,
        refused: Collection[str],
        max_steps: int,
    ) -> None:
        self._functions = functions
        self._persistent = persistent
        self._refused = refused
        self._max_steps = max_steps
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for steps, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if steps >= self._max_steps:
                raise _Refused(f"more than {self._max_steps:,} opcodes")
            if opcode.name == "STOP":
                return self._pop()
            try:
                self._step(opcode.name, argument)
            except _Refused as error:
                raise _Refused(f"{error} (opcode {opcode.name} at byte {position})") from error
        raise _Refused("no STOP opcode")

    def _step(self, name: str, argument: Any) -> None:
        if name in self._refused:
            raise _Refused("an unsupported object")
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _VALUES:
            self._stack.append(_VALUES[name])
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name in _FIXED_TUPLES:
            self._stack.append(tuple(reversed([self._pop() for _ in range(_FIXED_TUPLES[name])])))
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self._stack.append(self._memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = self._stack[-1]
        elif name not in ("PROTO", "FRAME"):
            method = getattr(self, f"_do_{name.lower()}", None)
            if method is None:
                raise _Refused("an unsupported object")
            method(argument)

    def _pop(self) -> Any:
        return self._stack.pop()

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _do_mark(self, _: None) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _do_memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _do_pop(self, _: None) -> None:
        self._pop()

    def _do_tuple(self, _: None) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _do_list(self, _: None) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _do_dict(self, _: None) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set_items(items)

    def _do_append(self, _: None) -> None:
        item = self._pop()
        self._append([item])

    def _do_appends(self, _: None) -> None:
        self._append(self._since_mark())

    def _do_setitem(self, _: None) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _do_setitems(self, _: None) -> None:
        self._set_items(self._since_mark())

    def _append(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise _Refused("items appended to something other than a list")
        self._stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not dict or len(items) % 2:
            raise _Refused("items set in something other than a dict")
        # Only plain values may be keys: Python hashes nested tuples by recursion, which a deep tuple makes overflow.
        if not all(isinstance(key, KEY_TYPES) for key in items[::2]):
            raise _Refused("a dict key that is neither text nor a number")
        self._stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _do_global(self, argument: str) -> None:
        self._name(argument.replace(" ", "."))

    def _do_stack_global(self, _: None) -> None:
        attribute, module = self._pop(), self._pop()
        self._name(f"{module:.100}.{attribute:.100}" if isinstance(module, str) and isinstance(attribute, str) else "?")

    def _name(self, name: str) -> None:
        if name not in self._functions:
            raise _Refused(f"the name {name[:100]!r}")
        self._stack.append(Name(name))

    def _do_reduce(self, _: None) -> None:
        arguments, called = self._pop(), self._pop()
        function = self._functions[called.name] if isinstance(called, Name) else None
        if function is None or type(arguments) is not tuple:
            raise _Refused(f"a call of {called.name if isinstance(called, Name) else type(called).__name__}")
        self._stack.append(function(*arguments))

    def _do_build(self, _: None) -> None:
        state, value = self._pop(), self._stack[-1]
        if isinstance(value, Name):
            raise _Refused(f"state for {value.name}")
        if isinstance(value, Stateful):
            value.set_state(state)
        # Any other state, such as the `_metadata` of a state_dict, is not needed and dropped.

    def _do_binpersid(self, _: None) -> None:
        if self._persistent is None:
            raise _Refused("a persistent id")
        self._stack.append(self._persistent(self._pop()))


def read_pickle(
    data: bytes,
    functions: Mapping[str, Callable[..., Any] | None],
    persistent: Callable[[Any], Any] | None = None,
    *,
    refused: Collection[str] = (),
    max_steps: int | None = None,
    allowed: str,
) -> Any:
    """Builds the object that a pickle describes.

    Args:
      data: The pickle. The memory used is proportional to its length.
      functions: Each allowed name -> the function that it stands for, called with the pickle's arguments, which are
        plain values or results of these functions; or None if the name may be mentioned but not called.
      persistent: The function called with each persistent id; without it persistent ids are an error.
      refused: Names of further opcodes to refuse, such as ``EMPTY_DICT``.
      max_steps: The largest number of opcodes; by default MAX_STEPS.
      allowed: What the pickle may contain and how to fix it, for the error message.

    Returns:
      Nested dict, list, tuple, numbers, text, `Name`, and what the functions return.

    Raises:
      UserError: The pickle is damaged or contains something unsupported; the message names it with its opcode, and
        nothing of it is executed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # for unknown escapes in text: no pickler writes them
            return _Machine(functions, persistent, refused, max_steps or MAX_STEPS).run(data)
    except _Refused as error:
        raise UserError(f"the pickle contains {error}, which is not allowed: {allowed}") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError, DeprecationWarning) as error:
        raise UserError(
            f"damaged pickle ({type(error).__name__}: {str(error)[:100]!r}): copy the file again"
        ) from error
