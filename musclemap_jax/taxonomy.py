"""The 20 muscle regions and the five splits of MuscleMap, in the authors' order; what names of regions may be.

Source: "Towards Activated Muscle Group Estimation in the Wild", figure of regions and section on splits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from musclemap_jax.errors import UserError

MUSCLE_REGIONS: tuple[str, ...] = (
    "neck and head",
    "chest",
    "shoulder",
    "biceps",
    "triceps",
    "forearms",
    "upper back",
    "latissimus",
    "obliques",
    "upper abdominis",
    "lower abdominis",
    "lower back",
    "hamstring",
    "quadriceps",
    "calves",
    "inner thigh",
    "outer thigh",
    "gluteus",
    "feet ankles",
    "wrists",
)
"""Names of the muscle regions of a raw data set that names none; a region's index is its label (0 to 19)."""

NUM_REGIONS: int = len(MUSCLE_REGIONS)

MAX_REGIONS = 1000
MAX_REGION_NAME = 100
"""Longest name of a region, in characters."""

SPLITS: tuple[str, ...] = ("train", "val_known", "val_new", "test_known", "test_new")
"""Names of the splits. An activity of the ``new`` splits is in no split but these two."""

EVAL_SPLITS: tuple[str, ...] = SPLITS[1:]
NEW_SPLITS: tuple[str, ...] = ("val_new", "test_new")
"""The splits with activities that are not in training."""


def activity_key(activity: str) -> str:
    """What spellings of one activity have in common: its letters and digits without case. 'Push-up' is 'push up'."""
    letters = unicodedata.normalize("NFKC", activity).casefold()
    return "".join(letter for letter in letters if letter.isalnum()) or activity


def check_regions(where: str, regions: Sequence[Any]) -> tuple[str, ...]:
    """The names of the muscle regions of a data set, in the order of their indices.

    Args:
      where: What holds the names, for the error.
      regions: The names.

    Raises:
      UserError: Something other than 1 to 1,000 different, printable, non-empty names.
    """
    if not isinstance(regions, list | tuple) or not 1 <= len(regions) <= MAX_REGIONS:
        got = len(regions) if isinstance(regions, list | tuple) else type(regions).__name__
        raise UserError(f"{where}: expected a list of 1 to {MAX_REGIONS:,} names of muscle regions, got {got}")
    for index, name in enumerate(regions):
        printable = isinstance(name, str) and name.isprintable() and name == name.strip()
        if not printable or not 1 <= len(name) <= MAX_REGION_NAME:
            raise UserError(
                f"{where}: expected names of 1 to {MAX_REGION_NAME} printable characters, got {name!r:.60} for region "
                f"{index}"
            )
        if name in regions[:index]:
            raise UserError(f"{where}: expected different names, got {name!r} twice: rename one of the regions")
    return tuple(regions)
