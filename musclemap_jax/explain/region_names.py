"""Regions that a user asks for by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from musclemap_jax.errors import UserError
from musclemap_jax.taxonomy import activity_key

TOP = "top"
"""Stands for the regions that are most probable over the video."""

NUM_TOP = 3


def find_region(name: str, regions: Sequence[str], where: str = "explain") -> str:
    """The region of a name, whatever its case, spaces and hyphens.

    Args:
      name: What the user asks for.
      regions: The model's regions.
      where: Argument or flag that has it, for the error.

    Raises:
      UserError: There is no such region; the message has the nearest names.
    """
    if name in regions:
        return name
    by_key = {activity_key(region): region for region in regions}
    if (key := activity_key(name)) in by_key:
        return by_key[key]
    near = difflib.get_close_matches(key, by_key, 3, 0.5)
    names = ", ".join(by_key[each] for each in near) or ", ".join(regions[:20])
    raise UserError(f"{where}: expected a muscle region of the model, got {name!r:.120}: try {names}")


def asked_regions(names: Sequence[str], regions: Sequence[str], where: str) -> tuple[str, ...]:
    """The regions of names, each once; `TOP` is kept.

    Raises:
      UserError: One of them is unknown.
    """
    found = (name if name == TOP and TOP not in regions else find_region(name, regions, where) for name in names)
    return tuple(dict.fromkeys(found))
