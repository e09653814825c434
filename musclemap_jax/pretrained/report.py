"""The report of an import: what became of every published array and of every array of ours."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from etils import epath

from musclemap_jax.storage.files import replace_text


@dataclasses.dataclass(frozen=True)
class Used:
    """A published array that was used.

    Attributes:
      source: Published key.
      target: Path of our array, joined by slashes.
      source_shape: The published array's.
      shape: That of our array, or of the slice of it that the published one fills.
      change: What was done besides the change of layout, such as "interpolated"; empty for nothing.
    """

    source: str
    target: str
    source_shape: tuple[int, ...]
    shape: tuple[int, ...]
    change: str = ""


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """An array that was left out by a rule: a published one, or one of ours, which keeps its initial value."""

    name: str
    rule: str


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """Lists of the arrays of an import: of those published, `used` and `left_out`; of ours, those that stay `initial`.

    `source` is the file, `architecture` the published model's name, and `prefix` the beginning of the keys in the file.
    """

    source: str
    architecture: str
    used: tuple[Used, ...]
    left_out: tuple[LeftOut, ...]
    initial: tuple[LeftOut, ...]
    prefix: str = ""

    @property
    def changed(self) -> tuple[Used, ...]:
        """Arrays that were interpolated, inflated or cut."""
        return tuple(used for used in self.used if used.change)

    def text(self) -> str:
        """The report as a table: counts, and a line for each array that was changed or left out."""
        place = f", {self.prefix}*" if self.prefix else ""
        lines = [f"{self.architecture} from {self.source}{place}", f"  used           {len(self.used):>6}"]
        lines.append(f"  of them changed{len(self.changed):>6}")
        lines += [f"    {u.source}: {u.change} {_shape(u.source_shape)} -> {_shape(u.shape)}" for u in self.changed]
        for title, entries in (("left out", self.left_out), ("kept initial", self.initial)):
            lines += [f"  {title:<15}{len(entries):>6}", *_grouped(entries)]
        return "\n".join(lines)

    def write(self, path: epath.PathLike, **more: Any) -> None:
        """Writes the report as JSON with further fields, to a local path or cloud storage."""
        replace_text(path, json.dumps(dataclasses.asdict(self) | more, indent=1) + "\n")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


_NAMED = 6
"""Arrays of one kind that are listed by name."""


def _grouped(entries: tuple[LeftOut, ...]) -> list[str]:
    """Lines by rule; long lists, such as HD-GCN's second names, are truncated."""
    lines = []
    for rule in dict.fromkeys(entry.rule for entry in entries):
        names = [entry.name for entry in entries if entry.rule == rule]
        shown = names if len(names) <= _NAMED else [*names[: _NAMED - 1], f"and {len(names) - _NAMED + 1} more"]
        lines += [f"    {name}: {rule}" for name in shown]
    return lines
