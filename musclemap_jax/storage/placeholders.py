"""What stands in a pickle that was read for objects of unknown classes, and the names that are refused all the same."""

from __future__ import annotations

import dataclasses
from typing import Any

HARMFUL_MODULES = (
    *("ctypes", "importlib", "nt", "os", "posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys"),
    "webbrowser",
)
HARMFUL_BUILTINS = ("__import__", "breakpoint", "compile", "eval", "exec", "execfile", "input", "open")
"""Names that no data needs but that attacks use.

Reading is safe without this list, since nothing is ever called; but whoever reads such a file should know.
"""


@dataclasses.dataclass(eq=False, slots=True)
class Placeholder:
    """An object of an unknown class: the data that was meant for it. It does nothing, and its class is not looked for.

    Attributes:
      name: Name of the class or function, as the pickle has it.
      items: Items that were set in it, as in a dict.
      state: Its attributes.
    """

    name: str
    items: dict[Any, Any] = dataclasses.field(default_factory=dict)
    state: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def set_state(self, state: Any) -> None:
        """Keeps attributes given as a dict, or as a pair of dicts: those in ``__dict__``, those in ``__slots__``."""
        for part in state if type(state) is tuple else (state,):
            if type(part) is dict:
                self.state.update(part)


def is_harmful(name: str) -> bool:
    """Whether a name such as ``os.system`` is one of HARMFUL_MODULES or HARMFUL_BUILTINS."""
    module, _, attribute = name.rpartition(".")
    is_builtin = module in ("builtins", "__builtin__") and attribute in HARMFUL_BUILTINS
    return is_builtin or module.partition(".")[0] in HARMFUL_MODULES
