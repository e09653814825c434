"""Keeps compiled programs on disk, so that a second run, a resumed one or an evaluation starts in seconds."""

from __future__ import annotations

import os
from pathlib import Path

import jax

MIN_COMPILE_TIME_S = 0.5


def cache_folder() -> Path:
    """Where this project keeps what it can make again: ``$XDG_CACHE_HOME/musclemap_jax`` (~/.cache by default)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "musclemap_jax"


def use_compilation_cache() -> None:
    """Turns JAX's persistent cache on in `cache_folder`.

    A folder that the user has set (``JAX_COMPILATION_CACHE_DIR``) is left as it is.
    """
    if jax.config.read("jax_compilation_cache_dir") is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_TIME_S)
