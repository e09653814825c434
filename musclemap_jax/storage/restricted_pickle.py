"""A pickle reader that builds only plain containers and what functions of the caller return.

Source: the pickle protocol, as listed by the standard library's `pickletools`. A pickle is a program, and Python's own
unpickler imports and calls whatever it names. This reader steps through the program and supports only the opcodes for
containers, numbers and text. It never imports anything: a name in the pickle stands for one of the caller's functions,
and any other name is refused or, where the caller allows it, stands for an inert `Placeholder`. It reads PyTorch's
checkpoints (``pretrained/torch_file.py``) and the data set's lists (``tfds_musclemap/importing/release_lists.py``).
"""

from __future__ import annotations

import dataclasses
import pickletools
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

from musclemap_jax.errors import UserError
from musclemap_jax.storage.placeholders import Placeholder, is_harmful

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


@dataclasses.dataclass(eq=False)
class Name:
    """A name that the pickle refers to, such as ``torch.FloatStorage``."""

    name: str


class _Refused(Exception):
    """The pickle contains something unsupported, which the message names."""


@dataclasses.dataclass
class _Machine:
    functions: Mapping[str, Callable[..., Any] | None]
    persistent: Callable[[Any], Any] | None
    refused: Collection[str]
    max_steps: int
    placeholders: bool
    stack: list[Any] = dataclasses.field(default_factory=list)
    marks: list[list[Any]] = dataclasses.field(default_factory=list)
    memo: dict[int, Any] = dataclasses.field(default_factory=dict)

    def run(self, data: bytes) -> Any:
        for steps, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if steps >= self.max_steps:
                raise _Refused(f"more than {self.max_steps:,} opcodes")
            if opcode.name == "STOP":
                return self.stack.pop()
            try:
                self._step(opcode.name, argument)
            except _Refused as error:
                raise _Refused(f"{error} (opcode {opcode.name} at byte {position})") from error
        raise _Refused("no STOP opcode")

    def _step(self, name: str, argument: Any) -> None:
        if name in self.refused:
            raise _Refused("an unsupported object")
        match name:
            case _ if name in _LITERALS:
                self._push(argument)
            case _ if name in _VALUES:
                self._push(_VALUES[name])
            case _ if name in _EMPTY:
                self._push(_EMPTY[name]())
            case _ if name in _FIXED_TUPLES:
                self._push(tuple(reversed([self.stack.pop() for _ in range(_FIXED_TUPLES[name])])))
            case "BINGET" | "LONG_BINGET" | "GET":
                self._push(self.memo[argument])
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "MARK":
                self.marks.append(self.stack)
                self.stack = []
            case "TUPLE":
                self._push(tuple(self._since_mark()))
            case "LIST":
                self._push(self._since_mark())
            case "DICT":
                items = self._since_mark()
                self._push({})
                self._set_items(items)
            case "APPEND":
                self._append([self.stack.pop()])
            case "APPENDS":
                self._append(self._since_mark())
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._since_mark())
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                self._push(self.stack[-1])
            case "GLOBAL":
                self._name(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                attribute, module = self.stack.pop(), self.stack.pop()
                is_text = isinstance(module, str) and isinstance(attribute, str)
                self._name(f"{module:.100}.{attribute:.100}" if is_text else "?")
            case "REDUCE" | "NEWOBJ":
                arguments, called = self.stack.pop(), self.stack.pop()
                self._call(called, arguments)
            case "NEWOBJ_EX":
                _, arguments, called = self.stack.pop(), self.stack.pop(), self.stack.pop()
                self._call(called, arguments)
            case "OBJ":
                called, *arguments = self._since_mark()
                self._call(called, tuple(arguments))
            case "INST":
                arguments = self._since_mark()
                self._name(argument.replace(" ", "."))
                self._call(self.stack.pop(), tuple(arguments))
            case "EMPTY_SET":
                self._push(self._placeholder("set"))
            case "FROZENSET":
                self._since_mark()
                self._push(self._placeholder("frozenset"))
            case "ADDITEMS":
                self._since_mark()
                if not isinstance(self.stack[-1], Placeholder):
                    raise _Refused("items added to something other than a set")
            case "BUILD":
                self._build()
            case "BINPERSID":
                if self.persistent is None:
                    raise _Refused("a persistent id")
                self._push(self.persistent(self.stack.pop()))
            case "PROTO" | "FRAME":
                pass
            case _:
                raise _Refused("an unsupported object")

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _append(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], Placeholder):
            return
        if type(self.stack[-1]) is not list:
            raise _Refused("items appended to something other than a list")
        self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1].items if isinstance(self.stack[-1], Placeholder) else self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise _Refused("items set in something other than a dict")
        target.update((self._key(key), value) for key, value in zip(items[::2], items[1::2], strict=True))

    def _key(self, key: Any) -> Any:
        # Only plain values may be keys: Python hashes nested tuples by recursion, which a deep tuple makes overflow.
        if isinstance(key, KEY_TYPES):
            return key
        if not self.placeholders:
            raise _Refused("a dict key that is neither text nor a number")
        return key if isinstance(key, Placeholder) else Placeholder("key")

    def _name(self, name: str) -> None:
        if name not in self.functions and (not self.placeholders or is_harmful(name)):
            raise _Refused(f"the name {name[:100]!r}")
        self._push(Name(name))

    def _placeholder(self, name: str) -> Placeholder:
        if not self.placeholders:
            raise _Refused(f"an object of {name}")
        return Placeholder(name)

    def _call(self, called: Any, arguments: Any) -> None:
        """Pushes what a function of the caller returns; for any other name, or the result of one, a placeholder."""
        if not isinstance(called, (Name, Placeholder)) or type(arguments) is not tuple:
            raise _Refused(f"a call of {type(called).__name__}")
        if isinstance(called, Placeholder) or called.name not in self.functions:
            self._push(self._placeholder(called.name))
            return
        function = self.functions[called.name]
        if function is None:
            raise _Refused(f"a call of {called.name}")
        self._push(function(*arguments))

    def _build(self) -> None:
        state, value = self.stack.pop(), self.stack[-1]
        if isinstance(value, Name):
            raise _Refused(f"state for {value.name}")
        if hasattr(value, "set_state"):
            value.set_state(state)
        # Any other state, such as the `_metadata` of a state_dict, is not needed and dropped.


def read_pickle(
    data: bytes,
    functions: Mapping[str, Callable[..., Any] | None],
    persistent: Callable[[Any], Any] | None = None,
    *,
    refused: Collection[str] = (),
    max_steps: int | None = None,
    placeholders: bool = False,
    allowed: str,
) -> Any:
    """Builds the object that a pickle describes.

    Args:
      data: The pickle. The memory used is proportional to its length.
      functions: Each allowed name -> the function that it stands for, called with the pickle's arguments, which are
        plain values or results of these functions; or None if the name may be mentioned but not called. A result whose
        state comes after its construction, as numpy's does, takes it by ``set_state(state)``, which raises ValueError
        or TypeError if it is invalid.
      persistent: The function called with each persistent id; without it persistent ids are an error.
      refused: Names of further opcodes to refuse, such as ``EMPTY_DICT``.
      max_steps: The largest number of opcodes; by default MAX_STEPS.
      placeholders: Whether an object of any other name, and whatever is made with it, becomes a `Placeholder`; harmful
        names (`placeholders.is_harmful`) are still refused.
      allowed: What the pickle may contain and how to fix it, for the error message.

    Returns:
      Nested dict, list, tuple, numbers, text, `Name`, `Placeholder`, and what the functions return.

    Raises:
      UserError: The pickle is damaged or contains something unsupported; the message names it with its opcode, and
        nothing of it is executed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # for unknown escapes in text: no pickler writes them
            return _Machine(functions, persistent, refused, max_steps or MAX_STEPS, placeholders).run(data)
    except _Refused as error:
        raise UserError(f"the pickle contains {error}, which is not allowed: {allowed}") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError, DeprecationWarning) as error:
        raise UserError(
            f"damaged pickle ({type(error).__name__}: {str(error)[:100]!r}): copy the file again"
        ) from error
