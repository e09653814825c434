"""What a stress test covers: the perturbations and splits that its flags name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence

from musclemap_jax.errors import UserError
from musclemap_jax.stress.perturbations import PERTURBATIONS
from musclemap_jax.stress.perturbations.perturbation import Perturbation
from musclemap_jax.taxonomy import EVAL_SPLITS

DEFAULT_SPLITS = ("test_known", "test_new")


@dataclasses.dataclass(frozen=True)
class StressChoice:
    """What a stress test covers.

    Attributes:
      perturbations: Each changes something that the model reads; in the order of `PERTURBATIONS`.
      splits: Splits of the data, which may have no clips.
      unseen: Names of the perturbations that were left out, since they change nothing that the model reads.
    """

    perturbations: tuple[Perturbation, ...]
    splits: tuple[str, ...]
    unseen: tuple[str, ...] = ()


def choose(names: Sequence[str], splits: Sequence[str], modalities: Sequence[str]) -> StressChoice:
    """The choice that the flags `--stress` and `--stress_splits` make.

    Args:
      names: Names of perturbations; all if there is none. Those that change nothing that the model reads are left out.
      splits: Names of splits.
      modalities: The modalities that the model reads.

    Raises:
      UserError: Unknown name, or no perturbation is left.
    """
    for name in names:
        if name not in PERTURBATIONS:
            near = difflib.get_close_matches(name, PERTURBATIONS, 3, 0.55) or PERTURBATIONS
            raise UserError(f"--stress: expected perturbations, got {name!r}: try {', '.join(near)}")
    for split in splits:
        if split not in EVAL_SPLITS:
            raise UserError(f"--stress_splits: expected some of {', '.join(EVAL_SPLITS)}, got {split!r}")
    if not splits:
        raise UserError(f"--stress_splits: expected some of {', '.join(EVAL_SPLITS)}, got none")
    wanted = [each for name, each in PERTURBATIONS.items() if not names or name in names]
    chosen = tuple(each for each in wanted if set(each.modalities) & set(modalities))
    unseen = tuple(each.name for each in wanted if each not in chosen)
    if not chosen:
        possible = [each.name for each in PERTURBATIONS.values() if set(each.modalities) & set(modalities)]
        raise UserError(
            f"--stress: this run reads {', '.join(modalities)}, which {', '.join(unseen)} leaves as it is: choose "
            f"some of {', '.join(possible)}"
        )
    return StressChoice(chosen, tuple(dict.fromkeys(splits)), unseen)
