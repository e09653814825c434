"""The flag --config of the commands that take a configuration.

Invalid input ends with one line on stderr and exit status 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

from musclemap_jax.errors import USER_ERROR_STATUS, UserError

_PACKAGE = Path(__file__).parents[1]
CONFIG_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Where a configuration is looked up by its name: in an installed package, in a checkout."""

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment: a file or the name of one in configs/, with a variant behind a colon."
)
"""The flag --config; a command that adopts it by `flags.adopt_module_key_flags` lists it in its --help."""


def config_file(source: str) -> Path:
    """File of a configuration.

    Args:
      source: A path (`configs/transm3e.py`) or, where no file of that path exists, the name of a file of configs/
        (`transm3e`); a variant behind a colon is ignored.

    Raises:
      UserError: There is neither such a file nor a configuration of that name.
    """
    path = Path(source.partition(":")[0])
    if path.is_file():
        return path
    names = sorted({file.stem for folder in CONFIG_FOLDERS for file in folder.glob("[!_]*.py")})
    if path.name == str(path) and path.suffix in ("", ".py") and path.stem in names:
        return next(file for folder in CONFIG_FOLDERS if (file := folder / f"{path.stem}.py").is_file())
    raise UserError(f"--config: expected a file, found none at {path}: pass a path or one of {', '.join(names)}")


class _ConfigParser(ConfigFileFlagParser):
    """Loads a configuration by its path or its name."""

    def parse(self, path: str) -> object:
        _, colon, variant = path.partition(":")
        return super().parse(f"{config_file(path)}{colon}{variant}")


flags.FLAGS["config"].parser = _ConfigParser("config")


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; an unknown or impossible flag, config key or config file is the user's error."""
    try:
        return flags.FLAGS(list(argv))
    except (flags.Error, UserError, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        text = error
        while isinstance(text, AttributeError | KeyError) and text.args:
            text = text.args[0]  # ml_collections wraps a KeyError, whose own text is its argument in quotation marks
        reason = " ".join(str(text).split())
        print(f"error: {reason}; see --help and musclemap_jax/experiment/config.py for the keys", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)


def config_name() -> str:
    """File name of the configuration given by --config, with its variant: ``transm3e.py:synthetic``."""
    source = config_flags.get_config_filename(flags.FLAGS["config"])
    _, colon, variant = source.partition(":")
    return f"{config_file(source).name}{colon}{variant}"
