"""What a study is, and the file that describes it.

A study file is Python, like a configuration: its `get_study()` returns a `Study`, whose rows are configurations that
are compared. Each row is run with each seed. configs/studies/ has examples.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config_files import CONFIG_FOLDERS, python_file_faults

_FOLDER = "studies"
_ROW = re.compile(r"[A-Za-z0-9][\w.-]{0,59}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Row:
    """One configuration of a study.

    Attributes:
      config: The configuration as --config takes it, such as ``transm3e:synthetic``.
      overrides: Key, such as ``loss.kd_weight``, -> value.
      about: What it shows, in a few words.
    """

    config: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    about: str = ""

    def __post_init__(self) -> None:
        for key in self.overrides:
            if key == "seed":
                raise UserError("override 'seed': the seeds of a study are its own: leave it out")
            if key.startswith("config."):
                raise UserError(f"override {key!r}: leave out 'config.'")


@dataclasses.dataclass(frozen=True)
class Study:
    """Configurations that are compared, each trained with the same seeds.

    Attributes:
      rows: Name -> configuration. The names are those of folders.
      seeds: Values of ``config.seed``.
      reference: The row from which the others' differences are taken; by default the first.
      name: Name of the study; by default that of its file.
      summary: What the study is about, in a sentence; by default the first line of its file.
    """

    rows: Mapping[str, Row]
    seeds: Sequence[int] = (0, 1, 2)
    reference: str = ""
    name: str = ""
    summary: str = ""

    def __post_init__(self) -> None:
        if not self.rows:
            raise UserError("rows: expected at least one")
        for name in self.rows:
            if not _ROW.fullmatch(name):
                raise UserError(f"rows: {name!r} is no name of a folder: use letters, digits, '_', '-' and '.'")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds: expected different numbers, at least one, got {tuple(self.seeds)}")
        if not self.reference:
            object.__setattr__(self, "reference", next(iter(self.rows)))
        if self.reference not in self.rows:
            raise UserError(f"reference: expected one of {', '.join(self.rows)}, got {self.reference!r}")


def load_study(source: str) -> Study:
    """Reads a study.

    Args:
      source: A file, or the name of one in configs/studies/.

    Raises:
      UserError: There is no such file, or it holds no valid study; names the file.
    """
    path = study_file(source)
    module_spec = importlib.util.spec_from_file_location(f"study_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"--study: expected a Python file, got {path}")
    module = importlib.util.module_from_spec(module_spec)
    with python_file_faults(path):
        module_spec.loader.exec_module(module)
        study = module.get_study()
    if not isinstance(study, Study):
        raise UserError(f"{path}: get_study() must return a Study, got a {type(study).__name__}")
    first_line = (module.__doc__ or "").strip().partition("\n")[0]
    return dataclasses.replace(study, name=study.name or path.stem, summary=study.summary or first_line)


def study_file(source: str) -> Path:
    """The file of a study.

    Raises:
      UserError: There is neither such a file nor a study of that name.
    """
    path = Path(source)
    if path.is_file():
        return path
    files = {file.stem: file for folder in reversed(CONFIG_FOLDERS) for file in (folder / _FOLDER).glob("[!_]*.py")}
    if path.name == str(path) and path.suffix in ("", ".py") and path.stem in files:
        return files[path.stem]
    raise UserError(f"--study: expected a file, found none at {path}: pass a path or one of {', '.join(sorted(files))}")
