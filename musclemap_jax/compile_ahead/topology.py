"""TPU topologies as the compiler sees them, without the TPUs, and the memory of each kind of chip.

libtpu (extra `tpu`) describes any topology on any machine and compiles for it; nothing is run.
Source: HBM of the chip kinds from Google's Cloud TPU documentation (pages "TPU v4" to "TPU7x (Ironwood)").
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
from collections.abc import Mapping

import jax

from musclemap_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class ChipKind:
    """A kind of TPU chip.

    Attributes:
      name: Its name in topologies.
      hbm_bytes: Memory of a JAX device; the compiler reserves about 2 % of it.
      options: Options of `get_topology_desc` that make as few JAX devices as possible of each chip.
      device: What a JAX device is.
    """

    name: str
    hbm_bytes: int
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    device: str = "chip"


CHIP_KINDS: dict[str, ChipKind] = {
    chip.name: chip
    for chip in (
        ChipKind("v4", 32 << 30, {"chip_config_name": "megacore"}),
        ChipKind("v5e", 16 << 30),
        ChipKind("v5p", 95 << 30),
        ChipKind("v6e", 32 << 30),
        ChipKind("tpu7x", 96 << 30, device="half chip"),
    )
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """The chips that a program is compiled for: `devices` has those of all slices, of TPU7x two for each chip.

    `name` is the chip kind and the number of chips on each axis of a slice, such as ``v5e:16x16``; slices are connected
    by the data centre's network.
    """

    name: str
    num_slices: int
    chip: ChipKind
    devices: list[jax.Device]

    @property
    def text(self) -> str:
        """Its name, with the number of slices if there are several."""
        return self.name if self.num_slices == 1 else f"{self.num_slices} x {self.name}"


def describe_topology(name: str, num_slices: int = 1) -> Topology:
    """Describes a TPU topology, such as ``v5e:16x16`` or ``v4:4x4x4`` (chip kind and chips on each axis of a slice).

    Raises:
      UserError: No TPU has such a topology, or libtpu is not installed.
    """
    kind, _, size = name.partition(":")
    if kind not in CHIP_KINDS or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", size):
        raise UserError(
            f"--topology={name}: expected one of {', '.join(CHIP_KINDS)}, a colon and the chips on each axis, "
            "such as v5e:16x16 or v4:4x4x4"
        )
    if num_slices < 1:
        raise UserError(f"--num_slices={num_slices}: expected at least 1")
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("libtpu, which compiles for TPU, is not installed: pip install 'musclemap_jax[tpu]'")
    chip = CHIP_KINDS[kind]
    # By default libtpu looks for a TPU in this machine and for the cloud's metadata server.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    jax.config.update("jax_platforms", "cpu")
    from jax.experimental import topologies

    options = dict(chip.options) | ({"num_slices": num_slices} if num_slices > 1 else {})
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--topology={name}: {' '.join(str(error).split())}") from error
    return Topology(name, num_slices, chip, list(devices))
