"""The flag --config of the commands that take a configuration.

If --config is left out and --workdir holds a run, the run's `config.json` is the configuration. Invalid input ends with
one line on stderr and exit status 2.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags
from etils import epath
from ml_collections import config_flags
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

from musclemap_jax.arguments import expand_home
from musclemap_jax.errors import USER_ERROR_STATUS, UserError
from musclemap_jax.experiment import workdir
from musclemap_jax.experiment.config import to_config
from musclemap_jax.experiment.config_files import config_file, python_file_faults
from musclemap_jax.storage.files import disable_listings_cache

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The experiment: a file or the name of one in configs/, with a variant behind a colon, or a run's config.json; by "
    "default that of the run in --workdir.",
)
"""The flag --config; a command that adopts it by `flags.adopt_module_key_flags` lists it in its --help."""


class _ConfigParser(ConfigFileFlagParser):
    """Loads a configuration by its path or its name, or that of a run."""

    def parse(self, path: str) -> object:
        if is_of_run(path):
            return to_config(workdir.trained_spec(epath.Path(path).parent))
        file = config_file(path)
        _, colon, variant = path.partition(":")
        with python_file_faults(file):
            try:
                return super().parse(f"{file}{colon}{variant}")
            except (TypeError, ValueError) as error:  # ml_collections puts a traceback into the text of these
                raise error.__context__ or error from None


flags.FLAGS["config"].parser = _ConfigParser("config")


class _IntegerParser(flags.IntegerParser):
    """An integer, or None for the keys that may be None; `config.resolve` refuses it for the others."""

    def parse(self, argument: Any) -> Any:
        return None if argument == "None" else super().parse(argument)


config_flags.register_flag_parser_for_type(int, _IntegerParser())

_INVALID = (flags.Error, UserError, AttributeError, KeyError, TypeError, ValueError, OSError)
"""What invalid flags and configuration files raise."""


def is_of_run(source: str) -> bool:
    """Whether the value of --config is the `config.json` of a run."""
    return os.path.basename(source) == workdir.CONFIG


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line.

    An unknown or impossible flag, config key or config file is the user's error, and so is an argument without a flag.
    """
    disable_listings_cache()  # the workdir may be on cloud storage
    try:
        rest = flags.FLAGS(with_run_config(expand_home(argv)))
        if rest[1:]:
            raise UserError(f"unexpected argument {rest[1]!r}: flags are written --name=value")
        return rest
    except _INVALID as error:
        print(f"error: {_reason(error)}", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)


def _reason(error: BaseException) -> str:
    """What is wrong with the flags, in one line."""
    if isinstance(error, UserError):
        return str(error)
    text: object = error
    while isinstance(text, AttributeError | KeyError) and text.args:
        text = text.args[0]  # ml_collections wraps a KeyError, whose own text is its argument in quotation marks
    kind = "unknown key " if isinstance(error, AttributeError | KeyError) else ""
    line = f"{kind}{' '.join(str(text).split())}".replace("' Did you mean", "': did you mean")
    if line.startswith("flag --") and not line.startswith("flag --config"):
        return f"{line} (see --help)"
    return f"{line} (musclemap_jax/experiment/config.py and --help list the keys)"


def parse_config(source: str, overrides: Mapping[str, str]) -> ml_collections.ConfigDict:
    """The configuration of another command: what `--config=source --config.KEY=TEXT ...` gives there.

    Args:
      source: The value of --config.
      overrides: Key, such as `train.batch_size`, -> its value as on the command line.

    Raises:
      UserError: An unknown key, an impossible value or no such file.
    """
    argv = ["", f"--config={source}", *(f"--config.{key}={text}" for key, text in overrides.items())]
    values = flags.FlagValues()
    try:
        holder = config_flags.DEFINE_config_file("config", None, flag_values=values, sys_argv=argv)
        values["config"].parser = _ConfigParser("config")
        values(argv)
        return holder.value
    except _INVALID as error:
        raise UserError(_reason(error)) from error


def with_run_config(argv: list[str]) -> list[str]:
    """The arguments, with the configuration of the run in --workdir if there is no --config.

    Raises:
      UserError: The workdir holds no run.
    """
    folder = _value(argv, "workdir")
    if not folder or _value(argv, "config") is not None or _value(argv, r"help\w*") is not None:
        return argv
    path = epath.Path(folder) / workdir.CONFIG
    if not path.exists():
        raise UserError(
            f"{folder}: no run here, and no --config: name the workdir of a run, or pass --config, such as "
            "--config=configs/transm3e.py"
        )
    # Behind the name of the command: ml_collections wants it before the keys.
    return [argv[0], f"--config={path}", *argv[1:]]


def _value(argv: Sequence[str], name: str) -> str | None:
    """The last value of a flag, a pattern, among unparsed arguments; None if it is not given."""
    found = None
    for position, argument in enumerate(argv):
        if match := re.fullmatch(rf"--?{name}(?:=(.*))?", argument, re.DOTALL):
            following = argv[position + 1] if position + 1 < len(argv) else ""
            found = following if match[1] is None else match[1]
    return found


def config_name() -> str:
    """File name of the configuration given by --config, with its variant: ``transm3e.py:synthetic``.

    Of a run's configuration, the run's folder comes first: ``demo/config.json``.
    """
    source = config_flags.get_config_filename(flags.FLAGS["config"])
    if is_of_run(source):
        return "/".join(source.split("/")[-2:])
    _, colon, variant = source.partition(":")
    return f"{config_file(source).name}{colon}{variant}"
