"""The runs of a study: one for each row and seed, with its configuration, its command and its places on disk."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.command_line import parse_config
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.study.study import Row, Study

RUNS, RESULTS = "runs", "results"
"""Folders of a study's workdir: the workdirs of its runs, and what they leave for the comparison."""
CONSOLE = "console.log"
"""File in a run's workdir: what the run wrote to the terminal, over all starts."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
      row: Name of its row.
      seed: Its seed.
      spec: Its configuration.
      arguments: Arguments of the main job that give this configuration.
      folder: Its workdir.
      result: The JSON file that it leaves.
    """

    row: str
    seed: int
    spec: ExperimentSpec
    arguments: tuple[str, ...]
    folder: Path
    result: Path

    def __str__(self) -> str:
        return f"{self.row} seed {self.seed}"

    @property
    def command(self) -> list[str]:
        """The main job's arguments, with the workdir."""
        return [*self.arguments, f"--workdir={self.folder}"]

    @property
    def command_line(self) -> str:
        """The command as a person would type it."""
        return shlex.join(["python", "-m", "musclemap_jax.main", *self.command])


def plan_runs(study: Study, workdir: Path, results: Path, overrides: Mapping[str, str]) -> list[Run]:
    """The runs of a study, the first seed of every row first.

    Args:
      study: The study.
      workdir: Its workdir.
      results: Folder of the JSON files.
      overrides: Key -> text of its value on the command line, for every row, over the row's own.

    Raises:
      UserError: A row's configuration is invalid; names the row.
    """
    runs = []
    for seed in study.seeds:
        for name, row in study.rows.items():
            texts = {**row_overrides(row), **overrides, "seed": str(seed)}
            try:
                spec = resolve(parse_config(row.config, texts))
            except UserError as error:
                raise UserError(f"study {study.name}, row {name}: {error}") from error
            arguments = (f"--config={row.config}", *(f"--config.{key}={text}" for key, text in texts.items()))
            folder = workdir / RUNS / name / f"seed_{seed}"
            runs.append(Run(name, seed, spec, arguments, folder, results / f"{name}_seed_{seed}.json"))
    return runs


def row_overrides(row: Row) -> dict[str, str]:
    """Key -> text of its value on the command line, of a row's own overrides."""
    return {key: _text(value) for key, value in row.overrides.items()}


def _text(value: Any) -> str:
    return repr(tuple(value)) if isinstance(value, list | tuple) else str(value)


def select_runs(runs: Sequence[Run], rows: Sequence[str]) -> list[Run]:
    """The runs of some rows; all if none is named.

    Raises:
      UserError: There is no such row.
    """
    known = dict.fromkeys(run.row for run in runs)
    for name in rows:
        if name not in known:
            raise UserError(f"--only={name}: expected one of {', '.join(known)}")
    return [run for run in runs if not rows or run.row in rows]
