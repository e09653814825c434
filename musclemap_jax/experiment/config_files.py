"""Configuration files, found by their path or by their name in configs/."""

from __future__ import annotations

import runpy
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
    variant = source.partition(":")[2]
    return runpy.run_path(str(config_file(source)))["get_config"](*([variant] if variant else []))
