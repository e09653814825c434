"""Which keys of a configuration a resumed run may change.

Until its first checkpoint a run has learned nothing and any key may change. Later, what decides what is learned has to
stay; what only decides how it is computed, watched or evaluated may change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import DERIVED, ExperimentSpec

LEARNED, FREE, LENGTH, START = "learned", "free", "length", "start"
"""Kinds of keys: those that stay, those that may change, the run's length, and what only a new run reads."""

KINDS: Mapping[str, str] = {
    "seed": LEARNED,
    "data.builder": LEARNED,
    "data.data_dir": FREE,
    "data.raw_dir": FREE,
    "data.max_rejected_fraction": FREE,
    "data.skeleton_layout": FREE,
    "data.rebuild": FREE,
    "data.num_threads": FREE,
    "data.num_workers": FREE,
    "input": LEARNED,
    "model": LEARNED,
    "model.remat": FREE,
    "init_from": START,
    "loss": LEARNED,
    "optimizer": LEARNED,
    "train.batch_size": LEARNED,
    "train.samples_per_clip": LEARNED,
    "train.mixing": LEARNED,
    "train.num_epochs": LENGTH,
    "train.num_steps": LENGTH,
    "train.grad_accum_steps": FREE,  # but for the batch norms' statistics, which a warning says
    "train.log_every": FREE,
    "train.eval_every": FREE,
    "train.checkpoint_every": FREE,
    "train.keep_checkpoints": FREE,
    "train.kd_gradient_every": FREE,
    "train.max_skipped": FREE,
    "train.stall_timeout_s": FREE,
    "eval": FREE,
    "eval.scores": LEARNED,  # the best checkpoint is the one with the highest of its validation scores
    "mesh": FREE,
}
"""Key -> its kind; a section stands for those of its keys that are not listed themselves."""

_DERIVED = {f"{section}.{name}" for section, names in DERIVED.items() for name in names}


class Change(NamedTuple):
    """A key whose value differs between two configurations."""

    key: str
    was: Any
    now: Any

    def __str__(self) -> str:
        was, now = ("''" if value == "" else value for value in (self.was, self.now))
        return f"{self.key} was {was}, is {now}"


def kind(key: str) -> str:
    """The kind of a key, such as `train.batch_size`.

    Raises:
      KeyError: Neither the key nor one of its sections is in the table.
    """
    section = key
    while section not in KINDS:
        section, dot, _ = section.rpartition(".")
        if not dot:
            raise KeyError(f"{key} is not classified in KINDS")
    return KINDS[section]


def changes(before: ExperimentSpec, after: ExperimentSpec, *sections: str) -> list[Change]:
    """The keys whose values differ, in alphabetical order; of some sections only if those are given.

    Fields that follow from other sections or from the data, whose regions are compared by name, are left out.
    """
    found = _changes(dataclasses.asdict(before), dataclasses.asdict(after))
    return [
        change
        for change in found
        if change.key not in _DERIVED and (not sections or change.key.partition(".")[0] in sections)
    ]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _changes(was, now, f"{path}{name}.")
        elif was != now:
            yield Change(f"{path}{name}", was, now)


def check_resumable(
    before: ExperimentSpec, after: ExperimentSpec, *, step: int, num_clips: int, extend: bool, workdir: str
) -> list[Change]:
    """Compares a run's configuration with the one that it is to be resumed with.

    Args:
      before: The run's configuration.
      after: The new one.
      step: The step of the checkpoint from which the run is resumed.
      num_clips: Number of training clips, which a length in epochs counts.
      extend: Whether the run may become longer.
      workdir: The run's workdir, for the messages.

    Returns:
      The changes that take effect.

    Raises:
      UserError: A change would make the run another one; says what to do instead.
    """
    different = changes(before, after)
    learned = [str(change) for change in different if kind(change.key) == LEARNED]
    if learned:
        raise UserError(
            f"{workdir}: this workdir holds a run with another configuration ({'; '.join(learned[:3])}), which step "
            f"{step} was trained with: to resume it, leave out --config and these keys; to train with "
            f"this one, choose another --workdir, with --config.init_from.model={workdir} to start from its weights"
        )
    _check_length(before.train.total_steps(num_clips), after.train.total_steps(num_clips), step, extend, workdir)
    return [change for change in different if kind(change.key) != START]


def _check_length(before: int, after: int, step: int, extend: bool, workdir: str) -> None:
    """Raises UserError unless the number of steps is the same or may grow."""
    if after == before:
        return
    if after < before:
        raise UserError(
            f"{workdir}: this run is to have {before} steps, of which {step} are done, and {after} are asked for: a "
            "run can be made longer (--extend), not shorter: leave out config.train.num_steps and num_epochs, or "
            "choose another --workdir"
        )
    if not extend:
        raise UserError(
            f"{workdir}: this run is to have {before} steps, and {after} are asked for: pass --extend to train it "
            "longer, from then on with the learning rates of the longer schedule"
        )
