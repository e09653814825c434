"""What an exercise is expected to activate: from the project's table of activities, or the user's CSV file.

    activity,muscles
    wall sit,quadriceps;gluteus

`muscles` are names of the model's regions, or their indices, joined by ';'.

Letters of shapes: K muscle regions.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.storage.tables import read_table
from musclemap_jax.synthetic.activities.table import ACTIVITIES
from musclemap_jax.synthetic.movements import MOVEMENTS
from musclemap_jax.taxonomy import MUSCLE_REGIONS, activity_key

COLUMNS = ("activity", "muscles")
SEPARATOR = ";"

_NUM_NEAR = 5


@dataclasses.dataclass(frozen=True)
class Expectation:
    """The regions of an exercise.

    Attributes:
      name: Name of the exercise.
      regions: Names of the regions that it activates.
    """

    name: str
    regions: tuple[str, ...]

    def mask(self, regions: Sequence[str]) -> np.ndarray:
        """(K,) bool over a model's regions.

        Raises:
          UserError: The model does not know one of them.
        """
        for region in self.regions:
            if region not in regions:
                raise UserError(
                    f"--expect={self.name}: activates {region!r}, which is no region of the model: pass "
                    "--activities=CSV with the model's regions"
                )
        return np.isin(regions, self.regions)

    @property
    def sentence(self) -> str:
        """The name and the regions."""
        return f"{self.name}: {', '.join(self.regions)}"


def built_in_table() -> dict[str, tuple[str, ...]]:
    """{name: regions} of the table of activities, and of the movements that they consist of, such as "squat"."""
    table = dict(MOVEMENTS)
    return table | {each.name: tuple(MUSCLE_REGIONS[k] for k in each.muscles) for each in ACTIVITIES}


def read_activities(path: str | Path, regions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """{name: regions} of the user's CSV file.

    Args:
      path: The file.
      regions: Names of the model's regions.

    Raises:
      UserError: No such file, or a line is invalid; the message names line, column and fix.
    """
    try:
        rows = read_table(Path(path), COLUMNS, advice=f", and join muscles by '{SEPARATOR}'")
    except FileNotFoundError as error:
        raise UserError(f"--activities: {path}: no such file") from error
    table: dict[str, tuple[str, ...]] = {}
    places: dict[str, str] = {}
    for row in rows:
        name, muscles = (row.values[column].strip() for column in COLUMNS)
        if not name:
            raise UserError(f"{row.place}, column activity: expected a name, got {name!r}: name the exercise")
        if (first := places.setdefault(activity_key(name), row.place)) != row.place:
            raise UserError(
                f"{row.place}, column activity: {name!r} stands in {first} already: give each exercise one line, with "
                f"its muscles joined by '{SEPARATOR}'"
            )
        table[name] = tuple(
            _region(text.strip(), regions, f"{row.place}, column muscles") for text in muscles.split(SEPARATOR)
        )
    if not table:
        raise UserError(f"{path}: expected at least one exercise below the header, found none: add a line for each")
    return table


def find_exercise(name: str, table: Mapping[str, tuple[str, ...]]) -> Expectation:
    """An exercise of a table, in any spelling.

    Raises:
      UserError: It is not there; the message has the nearest names.
    """
    by_key = {activity_key(known): known for known in table}
    key = activity_key(name)
    if key in by_key:
        return Expectation(by_key[key], tuple(table[by_key[key]]))
    inside = [known for other, known in by_key.items() if key in other or other in key]
    near = [by_key[other] for other in difflib.get_close_matches(key, by_key, _NUM_NEAR, 0.4)]
    names = list(dict.fromkeys(inside + near))[:_NUM_NEAR] or list(table)[:_NUM_NEAR]
    raise UserError(
        f"--expect: unknown exercise {name!r}: expected {', '.join(names)} or another of {len(table)}; or pass "
        "--activities=CSV with a table of your own"
    )


def _region(text: str, regions: Sequence[str], where: str) -> str:
    if text.isdecimal() and int(text) < len(regions):
        return regions[int(text)]
    by_key = {activity_key(region): region for region in regions}
    key = activity_key(text)
    if key in by_key:
        return by_key[key]
    near = [by_key[other] for other in difflib.get_close_matches(key, by_key, 3, 0.4)] or list(regions)[:3]
    raise UserError(
        f"{where}: expected names of regions joined by '{SEPARATOR}', or indices below {len(regions)}, got {text!r}: "
        f"perhaps {', '.join(near)}"
    )
