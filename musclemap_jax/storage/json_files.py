"""JSON files that the program wrote earlier: an absent or damaged one is a one-line error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from musclemap_jax.errors import UserError


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The ``object_pairs_hook`` for files that people edit: ValueError if a key of an object stands twice."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {key!r} stands twice")
        values[key] = value
    return values


def read_json_object(path: epath.PathLike, fix: str) -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Args:
      path: The file, local or on cloud storage.
      fix: What the user can do about a damaged file, for the error.

    Raises:
      UserError: The file is absent, unreadable, or holds something else, such as the first half of an object.
    """
    path = epath.Path(path)
    try:
        content = json.loads(path.read_text(), object_pairs_hook=unique_keys)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}: {fix}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged: not JSON ({error}): {fix}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged: expected a JSON object, got a {type(content).__name__}: {fix}")
    return content
