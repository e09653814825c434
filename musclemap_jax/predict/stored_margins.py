"""Alert margins beside a model: `alerts.json` in its folder, valid for its weights alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from flax import traverse_util

from musclemap_jax.coach.margins import AlertMargins, OlderMarginsError
from musclemap_jax.errors import UserError
from musclemap_jax.storage.files import replace_text

ALERTS = "alerts.json"

_DIGITS = 16
UNUSED = "kd_"
"""How the names of the modules begin that distillation alone needs; the shipped model goes without."""


def read_margins(folder: epath.PathLike, variables: Mapping[str, Any]) -> AlertMargins | None:
    """The margins of a model; None if there are none, or they are for other weights or of an earlier format.

    Raises:
      UserError: The file is damaged, or was written by a later version of the program.
    """
    path = epath.Path(folder) / ALERTS
    if not path.exists():
        return None
    try:
        margins = AlertMargins.from_json(path.read_text(), str(path))
    except OlderMarginsError:
        return None
    return margins if margins.weights == weights_digest(variables) else None


def write_margins(folder: epath.PathLike, margins: AlertMargins) -> None:
    """Writes `alerts.json` in one step; UserError if that fails."""
    path = epath.Path(folder) / ALERTS
    try:
        replace_text(path, margins.to_json())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def weights_digest(variables: Mapping[str, Any]) -> str:
    """A digest of the weights in float16, which a run and the model folder that is made of it share."""
    flat = traverse_util.flatten_dict(dict(variables["params"]), sep="/")
    digest = hashlib.sha256()
    for name in sorted(flat):
        if not name.startswith(UNUSED):
            digest.update(name.encode())
            digest.update(np.asarray(flat[name], np.float16).tobytes())
    return digest.hexdigest()[:_DIGITS]
