"""How long the parts of a run took, over all of its sessions, and by which code: ``<workdir>/times.json``.

A run that is stopped and resumed has several sessions. Each writes its own seconds when a checkpoint is saved and when
a part ends, so a session that is killed loses what it spent since.
"""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping

from etils import epath

from musclemap_jax.storage.files import replace_text

FILE = "times.json"

log = logging.getLogger(__name__)


class RunTimes:
    """Measures the seconds of each part of a session, and adds those of earlier sessions."""

    def __init__(self, workdir: epath.PathLike, writes: bool, code: str = "") -> None:
        """Starts the clock.

        Args:
          workdir: The run's workdir; need not exist.
          writes: Whether `save` writes; others, such as evaluations of a finished run, leave the workdir as it is.
          code: The code version of this session.
        """
        self._path, self._writes = epath.Path(workdir) / FILE, writes
        self._earlier, codes = _read(self._path)
        self.codes = tuple(dict.fromkeys([*codes, *filter(None, [code])]))
        """Code versions of the sessions, each once; those of older versions of this file do not say."""
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._since = time.perf_counter()

    def end(self, part: str) -> None:
        """Adds the seconds since the last call to a part, which may go on."""
        now = time.perf_counter()
        self._seconds[part] += now - self._since
        self._since = now

    def save(self) -> None:
        """Writes the seconds of the parts so far, into a workdir that exists."""
        if self._writes:
            sessions = [{name: round(s, 3) for name, s in seconds.items()} for seconds in self._sessions()]
            content = {"sessions": sessions, "codes": self.codes}
            replace_text(self._path, json.dumps(content, indent=2) + "\n")

    @property
    def num_sessions(self) -> int:
        """Number of sessions, this one included."""
        return len(self._sessions())

    def totals_s(self) -> dict[str, float]:
        """Part -> seconds over all sessions, in the order of the first appearance."""
        totals: dict[str, float] = {}
        for seconds in self._sessions():
            for name, value in seconds.items():
                totals[name] = totals.get(name, 0.0) + value
        return totals

    def _sessions(self) -> list[Mapping[str, float]]:
        return [*self._earlier, self._seconds]


def _read(path: epath.Path) -> tuple[list[Mapping[str, float]], list[str]]:
    """Sessions and code versions in a file; none if it is absent or damaged: a run need not stop for its times."""
    if not path.exists():
        return [], []
    try:
        content = json.loads(path.read_text())
        sessions: list[Mapping[str, float]] = [
            {str(name): float(value) for name, value in each.items()} for each in content["sessions"]
        ]
        return sessions, [str(code) for code in content.get("codes", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: damaged, the times of earlier sessions are lost: %s", path, error)
        return [], []
