"""Peak throughput of devices as their makers state it, the reference for model FLOPs utilisation (MFU).

Dense bfloat16 products in floating point operations per second, for what JAX calls one device. Sources: the system
architecture pages of Cloud TPU, and NVIDIA's data sheets (without sparsity).
"""

from __future__ import annotations

from jax.sharding import Mesh

PEAK_FLOPS: dict[str, float] = {
    "TPU v3": 123e12 / 2,  # a chip is two devices
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "TPU7x": 2307e12 / 2,
    "NVIDIA A100": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
}
"""Device kind, or its prefix for NVIDIA's -> operations per second."""


def peak_flops(mesh: Mesh) -> float | None:
    """Returns operations per second of all devices of a mesh; None where the kind is not in the table, as for CPUs."""
    kind = mesh.devices.flat[0].device_kind
    fitting = [name for name in PEAK_FLOPS if kind == name or (name.startswith("NVIDIA") and kind.startswith(name))]
    return PEAK_FLOPS[fitting[0]] * mesh.size if fitting else None
