"""The 20 muscle regions and the five splits of MuscleMap, in the authors' order.

Source: "Towards Activated Muscle Group Estimation in the Wild", figure of regions and section on splits.
"""

from __future__ import annotations

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
"""Names of the muscle regions; a region's index in this tuple is its label (0 to 19)."""

NUM_REGIONS: int = len(MUSCLE_REGIONS)

SPLITS: tuple[str, ...] = ("train", "val_known", "val_new", "test_known", "test_new")
"""Names of the splits. Activities of the ``new`` splits are in no other split but the other ``new`` one."""

EVAL_SPLITS: tuple[str, ...] = SPLITS[1:]
NEW_SPLITS: tuple[str, ...] = ("val_new", "test_new")
"""The splits with activities that training never shows."""
