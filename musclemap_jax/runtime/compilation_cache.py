"""Keeps compiled programs on disk, so that a second run, a resumed run or an evaluation starts in seconds."""

from __future__ import annotations

import jax

from musclemap_jax.runtime.cache_folder import cache_folder

MIN_COMPILE_TIME_S = 0.5


def use_compilation_cache() -> None:
    """Turns on JAX's persistent cache in `cache_folder`, or in ``JAX_COMPILATION_CACHE_DIR`` if that is set."""
    if jax.config.jax_compilation_cache_dir is None:  # ty: ignore[missing-attribute]  # made at run time
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_TIME_S)
