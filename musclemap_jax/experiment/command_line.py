"""What the commands that take --config share: how flags are parsed and the configuration's file is named.

Input at fault ends with one line on stderr and exit status 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from musclemap_jax.errors import USER_ERROR_STATUS, UserError

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file, with a variant behind a colon.")
"""The flag --config; a command that takes it over by `flags.adopt_module_key_flags` lists it in its --help."""


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
    """Name of the file given by --config, with its variant: ``transm3e.py:synthetic``.

    Raises:
      UserError: there is no such file.
    """
    source = Path(config_flags.get_config_filename(flags.FLAGS["config"]))
    file = source.with_name(source.name.partition(":")[0])
    if not file.is_file():
        raise UserError(f"--config: expected a file, found none at {file}: name one of configs/")
    return source.name
