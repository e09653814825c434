"""What a run writes while it trains: scalars as JSON lines and TensorBoard events, and a progress bar."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tqdm
from etils import epath

from musclemap_jax.storage.files import LocalFolder
from musclemap_jax.storage.scalars import append_scalars

SCALARS = "scalars.jsonl"


def _cut_lines_after(path: Path, step: int) -> None:
    """Drops the lines of steps after ``step``: a resumed run takes them again. A line cut short by a kill goes too."""
    kept = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["step"] <= step:
            kept.append(line)
    path.write_text("".join(line + "\n" for line in kept))


class RunLog:
    """Writes scalars to ``<workdir>/scalars.jsonl`` and TensorBoard; shows a progress bar.

    Process 0 alone writes; on the others every method does nothing.
    """

    def __init__(self, workdir: epath.PathLike, first_step: int, num_steps: int, primary: bool = True) -> None:
        """Opens the files.

        Args:
          workdir: of the run.
          first_step: steps taken before; what a killed run logged after them is cut off.
          num_steps: of the whole run.
          primary: whether this is process 0.
        """
        self._primary = primary
        if not primary:
            return
        # The import takes a second, and other processes do not need it.
        from tensorboardX import SummaryWriter

        workdir = epath.Path(workdir)
        self._folder = LocalFolder(workdir, fetch=(SCALARS,))
        self._scalars = self._folder.path / SCALARS
        if self._scalars.exists():
            _cut_lines_after(self._scalars, first_step)
        self._events = SummaryWriter(str(self._folder.path / "tensorboard"), purge_step=first_step or None)
        self._bar = tqdm.tqdm(total=num_steps, initial=first_step, desc="train", unit="step", dynamic_ncols=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values under their names, which are of the form ``train/loss``."""
        if not self._primary:
            return
        append_scalars(self._scalars, step, values)
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def show(self, values: Mapping[str, Any]) -> None:
        """Puts values behind the bar."""
        if self._primary:
            self._bar.set_postfix(values, refresh=False)

    def advance(self) -> None:
        """Moves the bar on by one step."""
        if self._primary:
            self._bar.update()

    def flush(self) -> None:
        """Brings what was written to a workdir on cloud storage; elsewhere each line is there at once."""
        if self._primary:
            self._events.flush()
            self._folder.upload()

    def close(self) -> None:
        """Closes the files and the bar."""
        if self._primary:
            self._events.close()
            self._bar.close()
            self._folder.close()
