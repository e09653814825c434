"""How every command parses its arguments."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from musclemap_jax.errors import UserError

_VALUE = re.compile(r"(?P<name>--?[\w.]+=)?(?P<path>~.*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are UserErrors, as everywhere in the project."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}: see --help")


def filled(text: str) -> str:
    """The value of an argument; an empty one, as of an unset variable of a script, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("expected a value, got an empty one")
    return text


def expand_home(arguments: Sequence[str] | None = None) -> list[str]:
    """The arguments with paths in the home folder expanded, as in ``--out=~/run``, which shells leave as it is.

    Args:
      arguments: A command's arguments; by default those of this process.
    """
    found = [(argument, _VALUE.fullmatch(argument)) for argument in (sys.argv[1:] if arguments is None else arguments)]
    return [
        f"{match['name'] or ''}{os.path.expanduser(match['path'])}" if match else argument for argument, match in found
    ]
