"""Tests of `SynchronizedJit` in one process; several processes are in test_processes.py."""

import jax
import jax.numpy as jnp
import numpy as np

from musclemap_jax.runtime import barrier


def test_each_shape_is_compiled_once_and_the_heap_is_tidied_before_it_runs(monkeypatch):
    events = []
    monkeypatch.setattr(barrier, "tidy_heap", lambda: events.append("tidied"))

    def double(x):
        events.append(f"traced {x.shape}")
        return 2 * x

    function = barrier.SynchronizedJit(jax.jit(double), "double")
    for size in (2, 2, 3, 2):
        np.testing.assert_array_equal(function(jnp.ones(size)), np.full(size, 2.0))
    assert events == ["traced (2,)", "tidied", "traced (3,)", "tidied"]


def test_lowering_takes_shapes():
    function = barrier.SynchronizedJit(jax.jit(lambda x: x + 1), "increment")
    lowered = function.lower(jax.ShapeDtypeStruct((4,), jnp.float32))
    assert "tensor<4xf32>" in lowered.as_text()
