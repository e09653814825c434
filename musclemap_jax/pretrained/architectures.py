"""The table of published models that can be imported."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from musclemap_jax.errors import UserError
from musclemap_jax.models.video.mvit import MVITV2_B, MVITV2_S
from musclemap_jax.models.video.swin import SWIN_B, SWIN_S, SWIN_T
from musclemap_jax.pretrained.gcn_names import (
    AUTHORS,
    CTRGCN_NAMES,
    PYSKL,
    STGCN_NAMES,
    published_ctrgcn,
    published_stgcn,
)
from musclemap_jax.pretrained.hdgcn_names import published_hdgcn
from musclemap_jax.pretrained.mvit_names import published_mvit
from musclemap_jax.pretrained.published import Architecture, Names
from musclemap_jax.pretrained.resnet_names import BACKBONES, RESNET_NAMES, published_resnet
from musclemap_jax.pretrained.swin_names import SWIN_NAMES, published_swin

ARCHITECTURES: dict[str, Callable[..., Architecture]] = {
    "mvitv2_s": functools.partial(published_mvit, MVITV2_S, "pyslowfast", False),
    "mvitv2_b": functools.partial(published_mvit, MVITV2_B, "pyslowfast", False),
    "mvitv2_s_image": functools.partial(published_mvit, MVITV2_S, "pyslowfast", True),
    "mvitv2_b_image": functools.partial(published_mvit, MVITV2_B, "pyslowfast", True),
    "torchvision_mvit_v2_s": functools.partial(published_mvit, MVITV2_S, "torchvision", False),
    "musclemap_s": functools.partial(published_mvit, MVITV2_S, "released", False),
    "musclemap_b": functools.partial(published_mvit, MVITV2_B, "released", False),
    "swin3d_t": functools.partial(published_swin, SWIN_T),
    "swin3d_s": functools.partial(published_swin, SWIN_S),
    "swin3d_b": functools.partial(published_swin, SWIN_B),
    "c2d": functools.partial(published_resnet, "c2d"),
    "i3d": functools.partial(published_resnet, "i3d"),
    "slow": functools.partial(published_resnet, "slow"),
    "slowfast": functools.partial(published_resnet, "slowfast"),
    "hdgcn": published_hdgcn,
    "stgcn": published_stgcn,
    "ctrgcn_pyskl": functools.partial(published_ctrgcn, PYSKL),
    "ctrgcn": functools.partial(published_ctrgcn, AUTHORS),
}
"""{name: function (name, **options of the user) -> Architecture}."""

NAMES: dict[str, Callable[[Mapping[str, Any]], Names]] = {
    "swin": lambda fields: SWIN_NAMES,
    **{backbone: lambda fields: RESNET_NAMES for backbone in BACKBONES},
    "stgcn": lambda fields: STGCN_NAMES,
    "ctrgcn": lambda fields: CTRGCN_NAMES[fields.get("convention", PYSKL)],
}
"""{backbone: function (fields of its architecture) -> its published names}, for those with one model without tokens."""


def make_architecture(name: str, **options: Any) -> Architecture:
    """Makes the architecture of a name.

    Args:
      name: A key of ARCHITECTURES.
      **options: Options of that architecture; None stands for its default.

    Raises:
      UserError: Unknown name, an option that the architecture does not have, or an invalid value.
    """
    if name not in ARCHITECTURES:
        raise UserError(f"arch: expected one of {', '.join(ARCHITECTURES)}, got {name!r}")
    known = list(inspect.signature(ARCHITECTURES[name]).parameters)[1:]
    given = {option: value for option, value in options.items() if value is not None}
    foreign = [option for option in given if option not in known]
    if foreign:
        raise UserError(f"arch {name}: has the options {', '.join(known)}, got {', '.join(foreign)}: leave them out")
    return ARCHITECTURES[name](name, **given)
