"""The table of all activities of the synthetic raw data set, known ones first."""

from __future__ import annotations

import difflib

from musclemap_jax.errors import UserError
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.activities.core import CORE_ACTIVITIES
from musclemap_jax.synthetic.activities.lower import LOWER_ACTIVITIES
from musclemap_jax.synthetic.activities.new import NEW_ACTIVITIES
from musclemap_jax.synthetic.activities.upper import UPPER_ACTIVITIES

ACTIVITIES: tuple[Activity, ...] = LOWER_ACTIVITIES + UPPER_ACTIVITIES + CORE_ACTIVITIES + NEW_ACTIVITIES


def select(names: tuple[str, ...] | None) -> tuple[Activity, ...]:
    """Selects activities by name or slug, in the order of ``ACTIVITIES``; all for None.

    Raises:
      UserError: Unknown name; the message suggests similar ones.
    """
    if names is None:
        return ACTIVITIES
    known = {a.name: a for a in ACTIVITIES} | {a.slug: a for a in ACTIVITIES}
    for name in names:
        if name not in known:
            every = [a.name for a in ACTIVITIES]
            near = difflib.get_close_matches(name, every, 3, 0.3) or every[:3]
            raise UserError(f"activities: expected names of synthetic activities, got {name!r}: try {', '.join(near)}")
    wanted = {known[name].name for name in names}
    return tuple(a for a in ACTIVITIES if a.name in wanted)
