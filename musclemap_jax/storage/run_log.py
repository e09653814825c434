"""The log of a training run: scalars as JSON lines and TensorBoard events, and a progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tqdm
from etils import epath

from musclemap_jax.storage.files import LocalFolder
from musclemap_jax.storage.scalars import append_scalars, drop_scalars_after

SCALARS = "scalars.jsonl"


class RunLog:
    """Writes scalars to ``<workdir>/scalars.jsonl`` and TensorBoard, and shows a progress bar.

    Only the primary process (0) writes; on the others, every method does nothing.
    """

    def __init__(self, workdir: epath.PathLike, first_step: int, num_steps: int, primary: bool = True) -> None:
        """Opens the files; drops whatever an earlier process logged after `first_step`, the steps already taken."""
        self._primary = primary
        if not primary:
            return
        # The import takes a second; other processes do not need it.
        from tensorboardX import SummaryWriter

        workdir = epath.Path(workdir)
        self._folder = LocalFolder(workdir, fetch=(SCALARS,))
        self._scalars = self._folder.path / SCALARS
        drop_scalars_after(self._scalars, first_step)
        self._events = SummaryWriter(str(self._folder.path / "tensorboard"), purge_step=first_step or None)
        self._bar = tqdm.tqdm(total=num_steps, initial=first_step, desc="train", unit="step", dynamic_ncols=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values under their names, such as ``train/loss``."""
        if not self._primary:
            return
        append_scalars(self._scalars, step, values)
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def show(self, values: Mapping[str, Any]) -> None:
        """Shows values beside the progress bar."""
        if self._primary:
            self._bar.set_postfix(values, refresh=False)

    def advance(self) -> None:
        """Advances the progress bar by one step."""
        if self._primary:
            self._bar.update()

    def flush(self) -> None:
        """Uploads what was written to a workdir on cloud storage; a local workdir has each line at once."""
        if self._primary:
            self._events.flush()
            self._folder.upload()

    def close(self) -> None:
        """Closes the files and the progress bar."""
        if self._primary:
            self._events.close()
            self._bar.close()
            self._folder.close()
