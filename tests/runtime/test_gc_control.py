"""Tests of pausing the garbage collector."""

import gc

import pytest

from musclemap_jax.runtime.gc_control import gc_paused


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_paused_and_then_restored(enabled):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with gc_paused():
            assert not gc.isenabled()
            with gc_paused():
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_an_error_in_the_block_restores_it_too():
    assert gc.isenabled()
    with pytest.raises(ValueError, match="in the block"), gc_paused():
        raise ValueError("in the block")
    assert gc.isenabled()
