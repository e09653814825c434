"""Which arrays of a file are the model's, and under which names: found by the table of published names.

Training code puts a model under a path of its own: `model_state.`, `state_dict.module.backbone.`, `model_ema.module.`,
`student.`. There is no list of such words here: the model is where most of the table's names are found, and what lies
above it, such as a head beside a backbone, is searched for the names that are still missing. A file may hold several
copies of a model; the user chooses by the beginning of their names, except that the plain weights come before averages
of them.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.report import LeftOut
from musclemap_jax.pretrained.source import SourceTensor

AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|shadow|optim\w*)([._]|$)", re.IGNORECASE)
"""Beginnings of names under which copies of a model's arrays lie that are not the plain weights."""

COPY_FRACTION = 0.5
"""Another copy of the model has at least this fraction of the names that are found; an average may lack statistics."""

_OUTSIDE_RULE = "outside of the model"


@dataclasses.dataclass(frozen=True)
class Located:
    """A model in a file.

    Attributes:
      prefix: Beginning of its names, with the dot; empty if there is none.
      tensors: Its arrays by the names below the prefix, and those of the table from above it.
      outside: What else is in the file: other copies of the model, and groups of other arrays.
    """

    prefix: str
    tensors: Mapping[str, SourceTensor]
    outside: tuple[LeftOut, ...]


def locate(tensors: Mapping[str, SourceTensor], sources: Collection[str], where: str, given: str = "") -> Located:
    """Finds a model in a file.

    Args:
      tensors: All arrays of the file.
      sources: The table's names.
      where: Name of the file, for errors.
      given: Beginning of the names of the wanted copy; empty for the plain weights.

    Raises:
      UserError: There are several copies, none of them is the plain one, and none is given; or the given one is absent.
    """
    found = collections.Counter(prefix for name in tensors for prefix in _prefixes(name, sources))
    most = max(found.values(), default=0)
    copies = [prefix for prefix, count in found.items() if count >= COPY_FRACTION * most]
    prefix = _chosen(copies, where, given) if copies else ""
    inner = [copy for copy in copies if copy != prefix and copy.startswith(prefix)]
    inside = {name for name in tensors if name.startswith(prefix) and not name.startswith(tuple(inner))}
    above = {}
    for outer in sorted((each for each in found if prefix.startswith(each) and each != prefix), key=len, reverse=True):
        names = {source: f"{outer}{source}" for source in sources if f"{prefix}{source}" not in inside}
        above = {source: name for source, name in names.items() if name in tensors} | above
    taken = {name.removeprefix(prefix): tensors[name] for name in tensors if name in inside}
    taken |= {source: tensors[name] for source, name in above.items()}
    rest = [name for name in tensors if name not in inside and name not in above.values()]
    return Located(prefix, taken, tuple(_outside(rest, [copy for copy in copies if copy != prefix])))


def _prefixes(name: str, sources: Collection[str]) -> Iterator[str]:
    """Beginnings of a name whose rest is in the table."""
    start = 0
    while True:
        if name[start:] in sources:
            yield name[:start]
        dot = name.find(".", start)
        if dot < 0:
            return
        start = dot + 1


def _chosen(copies: list[str], where: str, given: str) -> str:
    beginning = f"{given.removesuffix('.')}." if given else ""
    below = [copy for copy in copies if copy.startswith(beginning)]
    if not below:
        raise UserError(f"{where}: --prefix: {given!r} is not in the file, which has the model under {_listed(copies)}")
    if beginning in below:
        return beginning
    candidates = [copy for copy in below if not AVERAGED.search(copy.removeprefix(beginning))] or below
    if len(candidates) > 1:
        raise UserError(f"{where}: holds the model {len(candidates)} times: choose --prefix from {_listed(candidates)}")
    return candidates[0]


def _outside(names: Iterable[str], copies: list[str]) -> Iterator[LeftOut]:
    """Copies of the model, and the other arrays by the first part of their names."""
    groups: collections.Counter[tuple[str, str]] = collections.Counter()
    for name in names:
        copy = next((each for each in sorted(copies, key=len, reverse=True) if name.startswith(each)), None)
        if copy:
            groups[f"{copy}*", f"another copy of the model, chosen by --prefix={copy}"] += 1
        else:
            first, dot, _ = name.partition(".")
            groups[f"{first}.*" if dot else first, _OUTSIDE_RULE] += 1
    for (name, rule), count in groups.items():
        yield LeftOut(name, f"{rule} ({count} arrays)")


def _listed(prefixes: Iterable[str]) -> str:
    return ", ".join(repr(prefix[:80]) for prefix in prefixes)
