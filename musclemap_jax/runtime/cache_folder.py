"""Where files lie that can be recreated: compiled programs, copies of remote data, the pose model."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/musclemap_jax`` (~/.cache by default)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "musclemap_jax"
