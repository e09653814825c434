"""The log of a training run: scalars as JSON lines and TensorBoard events."""

from __future__ import annotations

from collections.abc import Mapping

from etils import epath

from musclemap_jax.storage.files import LocalFolder
from musclemap_jax.storage.scalars import append_scalars, drop_scalars_after

SCALARS = "scalars.jsonl"


class RunLog:
    """Writes scalars to ``<workdir>/scalars.jsonl`` and TensorBoard.

    Only the primary process (0) writes; on the others, every method does nothing.
    """

    def __init__(self, workdir: epath.PathLike, first_step: int, primary: bool = True) -> None:
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

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values under their names, such as ``train/loss``."""
        if not self._primary:
            return
        append_scalars(self._scalars, step, values)
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Uploads what was written to a workdir on cloud storage; a local workdir has each line at once."""
        if self._primary:
            self._events.flush()
            self._folder.upload()

    def close(self) -> None:
        """Closes the files."""
        if self._primary:
            self._events.close()
            self._folder.close()
