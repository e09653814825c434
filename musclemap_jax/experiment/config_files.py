"""Configuration files, found by their path or by their name in configs/."""

from __future__ import annotations

import contextlib
import runpy
import traceback
from collections.abc import Generator
from pathlib import Path

import ml_collections

from musclemap_jax.errors import UserError

_PACKAGE = Path(__file__).parents[1]
CONFIG_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Where a configuration is looked up by its name: in an installed package, in a checkout."""


def config_file(source: str) -> Path:
    """File of a configuration.

    Args:
      source: A path (`configs/transm3e.py`) or, where no file of that path exists, the name of a file of configs/
        (`transm3e`, `scenic/transm3e`); a variant behind a colon is ignored.

    Raises:
      UserError: There is neither such a file nor a configuration of that name.
    """
    path = Path(source.partition(":")[0])
    if path.is_file():
        return path
    known = {
        str(file.relative_to(folder).with_suffix("")): file
        for folder in reversed(CONFIG_FOLDERS)
        for file in sorted(folder.rglob("[!_]*.py"))
    }
    if path.suffix in ("", ".py") and str(path.with_suffix("")) in known:
        return known[str(path.with_suffix(""))]
    raise UserError(f"--config: expected a file, found none at {path}: pass a path or one of {', '.join(known)}")


def named_config(source: str) -> ml_collections.ConfigDict:
    """The configuration of a file, given as in `config_file`, with its variant behind a colon."""
    path, variant = config_file(source), source.partition(":")[2]
    with python_file_faults(path):
        return runpy.run_path(str(path))["get_config"](*([variant] if variant else []))


@contextlib.contextmanager
def python_file_faults(path: Path) -> Generator[None]:
    """Turns what is raised in the block, which runs a Python file, into one line that names the file and its line.

    Raises:
      UserError: The file is no Python file, or raises an error.
    """
    if path.suffix != ".py":
        raise UserError(f"{path}: expected a Python file, whose name ends in .py")
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}{_line(error, path)}: {type(error).__name__}: {reason}") from error


def _line(error: Exception, path: Path) -> str:
    """Where in the file an error was raised, such as ", line 7"; empty if that is not known."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).absolute() == path.absolute()]
    return f", line {lines[-1]}" if lines else ""
