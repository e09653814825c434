"""Machines that training may run on: memory, networks and processor cores, as their makers state them.

Sources: the system architecture pages of Cloud TPU (v5e, v5p, v6e, TPU7x: HBM bandwidth; bidirectional interchip
bandwidth of a chip, of which half goes each way; data centre network; vCPUs of the VM with four chips); NVIDIA's data
sheet of the H200 and guide of the DGX H200 (NVLink 900 GB/s both ways, eight 400 Gb/s adapters, 112 cores).
"""

from __future__ import annotations

import dataclasses

from musclemap_jax.cost.hardware import PEAK_FLOPS


@dataclasses.dataclass(frozen=True)
class Machine:
    """A kind of accelerator and the hosts and networks around it; bandwidths in bytes per second.

    Attributes:
      name: Its name on the command line.
      peak_flops: Dense bfloat16 operations per second of a chip.
      hbm_bandwidth: Of a chip's memory.
      send_bandwidth: What a chip can send at once over all its fast links: ICI, or NVLink.
      domain: The number of chips that the fast links connect: a slice, or a node.
      outer_bandwidth: What a chip can send at once between domains, over the data centre's network.
      chips_per_host: Chips of one process of training.
      host_cores: Physical cores of its machine; two virtual ones count as one.
    """

    name: str
    peak_flops: float
    hbm_bandwidth: float
    send_bandwidth: float
    domain: int
    outer_bandwidth: float
    chips_per_host: int
    host_cores: int


MACHINES: dict[str, Machine] = {
    machine.name: machine
    for machine in (
        Machine("v5e", PEAK_FLOPS["TPU v5e"], 819e9, 200e9, 256, 3.125e9, 4, 56),
        Machine("v5p", PEAK_FLOPS["TPU v5p"], 2765e9, 600e9, 6144, 6.25e9, 4, 104),
        Machine("v6e", PEAK_FLOPS["TPU v6e"], 1638e9, 400e9, 256, 12.5e9, 4, 90),
        Machine("tpu7x", 2307e12, 7380e9, 600e9, 9216, 12.5e9, 4, 112),
        Machine("h200", PEAK_FLOPS["NVIDIA H200"], 4800e9, 450e9, 8, 50e9, 8, 112),
    )
}
