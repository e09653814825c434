"""What an import did with every published array and with every array of ours."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Used:
    """A published array that ours was filled from.

    Attributes:
      source: published key.
      target: path of ours, joined by slashes.
      source_shape: of the published array.
      shape: of ours (of the slice, where the published one is a part).
      change: what was done beside the change of layout, such as "interpolated"; empty for nothing.
    """

    source: str
    target: str
    source_shape: tuple[int, ...]
    shape: tuple[int, ...]
    change: str = ""


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """An array that was left out by a rule: published (`name` its key), or ours, which keeps its initial value."""

    name: str
    rule: str


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """Every array of both sides is in exactly one of the lists.

    Attributes:
      source: file that was read.
      architecture: name of the published model.
      used: published arrays that were taken.
      left_out: published arrays that were not.
      initial: arrays of ours that keep their initial values.
      surprises: arrays that no rule speaks of; an import with any of them is an error, so it is empty.
    """

    source: str
    architecture: str
    used: tuple[Used, ...]
    left_out: tuple[LeftOut, ...]
    initial: tuple[LeftOut, ...]
    surprises: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[Used, ...]:
        """Arrays that were interpolated, inflated or cut."""
        return tuple(used for used in self.used if used.change)

    def text(self) -> str:
        """The report as a table: counts, then a line for each array that was changed or left out."""
        lines = [f"{self.architecture} from {self.source}", f"  taken          {len(self.used):>6}"]
        lines.append(f"  of them changed{len(self.changed):>6}")
        shapes = "{} {} -> {}".format
        lines += [f"    {u.source}: {shapes(u.change, _shape(u.source_shape), _shape(u.shape))}" for u in self.changed]
        for title, entries in (("left out", self.left_out), ("kept initial", self.initial)):
            lines.append(f"  {title:<15}{len(entries):>6}")
            lines += _grouped(entries)
        lines.append(f"  surprises      {len(self.surprises):>6}")
        return "\n".join(lines)

    def write(self, path: str | os.PathLike, **more: Any) -> None:
        """Writes the report as JSON, with further fields."""
        Path(path).write_text(json.dumps(dataclasses.asdict(self) | more, indent=1) + "\n")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _grouped(entries: tuple[LeftOut, ...], most: int = 6) -> list[str]:
    """Lines by rule; long lists, such as HD-GCN's second names, are cut to their beginning."""
    lines = []
    for rule in dict.fromkeys(entry.rule for entry in entries):
        names = [entry.name for entry in entries if entry.rule == rule]
        shown = names if len(names) <= most else [*names[: most - 1], f"and {len(names) - most + 1} more"]
        lines += [f"    {name}: {rule}" for name in shown]
    return lines
