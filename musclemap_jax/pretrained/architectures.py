"""The table of published models that can be imported."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from musclemap_jax.errors import UserError
from musclemap_jax.models.video.mvit import MVITV2_B, MVITV2_S
from musclemap_jax.pretrained.hdgcn_names import published_hdgcn
from musclemap_jax.pretrained.mvit_names import published_mvit
from musclemap_jax.pretrained.published import Architecture

ARCHITECTURES: dict[str, Callable[..., Architecture]] = {
    "mvitv2_s": functools.partial(published_mvit, MVITV2_S, "pyslowfast", False),
    "mvitv2_b": functools.partial(published_mvit, MVITV2_B, "pyslowfast", False),
    "mvitv2_s_image": functools.partial(published_mvit, MVITV2_S, "pyslowfast", True),
    "mvitv2_b_image": functools.partial(published_mvit, MVITV2_B, "pyslowfast", True),
    "torchvision_mvit_v2_s": functools.partial(published_mvit, MVITV2_S, "torchvision", False),
    "musclemap_s": functools.partial(published_mvit, MVITV2_S, "released", False),
    "musclemap_b": functools.partial(published_mvit, MVITV2_B, "released", False),
    "hdgcn": published_hdgcn,
}
"""{name: function (name, **options of the user) -> Architecture}."""


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
