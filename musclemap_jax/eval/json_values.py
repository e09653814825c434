"""Numbers in strict JSON, which has no NaN: null stands for it."""

from __future__ import annotations

import math
from typing import Any


def nan_to_none(value: Any) -> Any:
    """A value of dicts, lists, tuples and numbers with None for NaN; tuples become lists."""
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def none_to_nan(value: Any) -> Any:
    """The inverse; lists become tuples."""
    if isinstance(value, dict):
        return {key: none_to_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(map(none_to_nan, value))
    return math.nan if value is None else value
