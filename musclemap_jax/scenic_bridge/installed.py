"""Scenic, imported when it is needed and without its side effects on the process.

Importing Scenic imports TensorFlow, which reserves the memory of GPUs, and turns off Flax's use of Orbax for the whole
process. `scenic_module` leaves neither behind; `scenic_checkpoints` turns Orbax off for as long as Scenic saves. Absl
flags are defined by `scenic.app` alone, which we never import.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Generator
from typing import Any

from musclemap_jax.errors import UserError

COMMIT = "4a38d475ee89cb821078c0e2bf2065ee030e1535"
"""The commit of Scenic that the bridge is tested with."""

REPOSITORY = "https://github.com/google-research/scenic"
INSTALL = f"git clone {REPOSITORY}; python tools/install_scenic.py scenic"
"""How Scenic is installed, for messages."""

_ORBAX = "flax_use_orbax_checkpointing"


def scenic_module(name: str) -> Any:
    """Imports a module of Scenic.

    Args:
      name: Such as `scenic.train_lib.train_utils`.

    Raises:
      UserError: Scenic, or something that it needs, is not installed; or the package of that name is another one.
    """
    import flax

    orbax = getattr(flax.config, _ORBAX)
    try:
        scenic = importlib.import_module("scenic")
        if importlib.util.find_spec("scenic.train_lib") is None:
            raise UserError(
                f"scenic ({scenic.__file__}): the package on PyPI is another project of that name: uninstall it, and "
                f"install Google's: {INSTALL}"
            )
        _leave_accelerators_to_jax()
        return importlib.import_module(name)
    except ImportError as error:
        what = "Scenic is not installed" if (error.name or "").startswith("scenic") else f"Scenic needs {error.name}"
        raise UserError(f"{what}: {INSTALL}") from error
    finally:
        flax.config.update(_ORBAX, orbax)


def _leave_accelerators_to_jax() -> None:
    """Hides GPUs from TensorFlow, before it reserves their memory."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def scenic_checkpoints() -> Generator[None]:
    """In this context, Flax writes and reads checkpoints as Scenic has them: one msgpack file each, without Orbax."""
    import flax

    orbax = getattr(flax.config, _ORBAX)
    flax.config.update(_ORBAX, False)
    try:
        yield
    finally:
        flax.config.update(_ORBAX, orbax)
