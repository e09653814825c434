"""The persistent compilation cache in a bucket: what one process compiled, the next one loads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils.epath import gpath
from jax.experimental.compilation_cache import compilation_cache

from musclemap_jax.runtime import compilation_cache as ours
from tests.object_store import BUCKET, Store


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr(gpath._GPath, "_backend", property(lambda path: store))
    monkeypatch.setattr(ours, "MIN_COMPILE_TIME_S", 0.0)
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", f"{BUCKET}/xla")
    compilation_cache.reset_cache()
    ours.use_compilation_cache()
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_a_program_is_compiled_once_for_all_who_share_a_bucket(bucket):
    assert jax.config.jax_compilation_cache_dir == f"{BUCKET}/xla"  # the environment's choice is kept
    hits = []
    jax.monitoring.register_event_listener(
        lambda event, **_: hits.append(event) if event.endswith("/cache_hits") else None
    )

    def function(x):
        return jnp.tanh(x) @ x.T

    x = jnp.ones((5, 3))
    first = jax.jit(function)(x)
    files = list((bucket / "xla").iterdir())
    assert [file for file in files if file.name.startswith("jit_function-")]
    assert not hits
    jax.clear_caches()  # as in another process
    np.testing.assert_array_equal(jax.jit(function)(x), first)
    assert hits
    assert sorted((bucket / "xla").iterdir()) == sorted(files)
