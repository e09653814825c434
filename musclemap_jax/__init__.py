"""TransM3E in JAX: activated muscle group estimation from video and skeletons.

    import musclemap_jax as mm

    model = mm.load("runs/demo")  # a run, an imported checkpoint, gs://..., or nothing for the shipped model
    prediction = model.predict("squat.mp4")

Importing the package imports nothing else; `load` imports JAX.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"


def load(run: str | os.PathLike | None = None) -> Any:
    """Loads a trained model: `musclemap_jax.predict.model.load`, whose docstring has the details.

    Args:
      run: A run's workdir (also `gs://...`), an imported checkpoint, or a model folder; None for the shipped model.

    Returns:
      A `musclemap_jax.predict.model.Model`.

    Raises:
      UserError: There is no model, or it cannot predict muscle regions.
    """
    return importlib.import_module("musclemap_jax.predict.model").load(run)
