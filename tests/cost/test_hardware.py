"""Tests of the peak FLOP/s of devices."""

import jax

from musclemap_jax.cost.hardware import peak_flops


def test_devices_without_a_stated_peak_have_no_utilisation():
    mesh = jax.make_mesh((8, 1, 1), ("data", "fsdp", "tensor"))
    assert peak_flops(mesh) is None
