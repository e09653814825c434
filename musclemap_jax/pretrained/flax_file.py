"""Arrays of a checkpoint that Flax wrote as one msgpack file, as Scenic and older JAX projects have them.

Of a training state only the model is read: `params`, or `optimizer/target` of the time before Optax. Arrays become
numpy's, and nothing in the file is executed.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
from etils import epath
from flax import serialization

from musclemap_jax.errors import UserError

_MAPS = frozenset([*range(0x81, 0x90), 0xDE, 0xDF])
"""First bytes of msgpack's maps; 0x80, the empty one, is how pickles begin."""


def is_flax_file(path: epath.PathLike) -> bool:
    """Whether a file begins as a msgpack of a mapping does."""
    try:
        with epath.Path(path).open("rb") as file:
            start = file.read(1)
    except OSError:
        return False
    return bool(start) and start[0] in _MAPS


def read_flax_file(path: epath.PathLike) -> dict[str, Any]:
    """Reads the model of a checkpoint.

    Returns:
      Nested mappings of numpy arrays.

    Raises:
      UserError: The file is damaged or holds no model.
    """
    try:
        tree = serialization.msgpack_restore(epath.Path(path).read_bytes())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        raise UserError(f"{path}: not a readable msgpack file of Flax: {error}") from error
    optimizer = tree.get("optimizer")
    model = optimizer.get("target") if isinstance(optimizer, dict) else tree.get("params", tree)
    if not isinstance(model, dict):
        raise UserError(f"{path}: holds no parameters: expected params, or optimizer with target")
    return _arrays(model)


def _arrays(tree: dict[str, Any]) -> dict[str, Any]:
    """The same nested mappings, with every array one of numpy's; other leaves stay."""
    return {
        str(name): _arrays(leaf) if isinstance(leaf, dict) else np.asarray(leaf) if hasattr(leaf, "shape") else leaf
        for name, leaf in tree.items()
    }
