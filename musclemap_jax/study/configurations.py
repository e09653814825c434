"""When two configurations of a run give the same result, as far as a study is concerned."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.resumption import FREE, Change, changes, kind

_UNSCORED = "eval.batch_size"
"""The only key of `eval` that no score depends on."""
_CHOOSES = "train.eval_every"
"""The key that says which checkpoints the best one is chosen from."""


def deciding_changes(before: ExperimentSpec, after: ExperimentSpec) -> list[Change]:
    """The differing keys that decide what is learned or scored.

    Where the data lies, the devices and the intervals of logs and checkpoints do not; nor does the interval of the
    evaluations, unless they choose the checkpoint that is scored.
    """
    return [change for change in changes(before, after) if _decides(change.key, after)]


def needs_training(found: list[Change]) -> bool:
    """Whether some of the changes are of what is learned, not only of how it is scored."""
    return any(kind(change.key) != FREE or change.key == _CHOOSES for change in found)


def config_hash(spec: ExperimentSpec, stored: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of the deciding part of a configuration, 64 hexadecimal digits.

    Args:
      spec: The configuration.
      stored: Its JSON if it was read from a file, which lacks the keys that an older version did not know.
    """
    flat = {key: value for key, value in _flat(stored or dataclasses.asdict(spec)).items() if _decides(key, spec)}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()


def _decides(key: str, spec: ExperimentSpec) -> bool:
    if key == _CHOOSES:
        return spec.eval.checkpoint == "best"
    return kind(key) != FREE or (key.startswith("eval.") and key != _UNSCORED)


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """{dotted key: value} of nested mappings."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{path}{name}.")
        else:
            flat[f"{path}{name}"] = value
    return flat
