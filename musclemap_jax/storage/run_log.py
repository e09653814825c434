"""The log of a training run: scalars as JSON lines and TensorBoard events."""

from __future__ import annotations

from collections.abc import Mapping

from etils import epath

from musclemap_jax.storage.event_file import EventFile
from musclemap_jax.storage.files import LocalFolder
from musclemap_jax.storage.run_times import RunTimes
from musclemap_jax.storage.scalars import append_scalars, drop_scalars_after, read_scalars

SCALARS = "scalars.jsonl"
TENSORBOARD = "tensorboard"
TRAINING = "training"


class RunLog:
    """Writes scalars to ``<workdir>/scalars.jsonl`` and TensorBoard.

    Only the primary process (0) writes; on the others, every method does nothing.
    """

    def __init__(
        self, workdir: epath.PathLike, first_step: int, primary: bool = True, times: RunTimes | None = None
    ) -> None:
        """Opens the files; drops whatever an earlier process logged after `first_step`, the steps already taken.

        `times` are those of the run, which `flush` saves.
        """
        self._primary, self._times = primary, times
        if not primary:
            return
        self._folder = LocalFolder(epath.Path(workdir), fetch=(SCALARS,))
        self._scalars = self._folder.path / SCALARS
        drop_scalars_after(self._scalars, first_step)
        self._first_step = first_step
        earlier = read_scalars(self._scalars).items()
        self._logged = {name for name, series in earlier if first_step in series.steps}
        self._events = EventFile(self._folder.path / TENSORBOARD, first_step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values under their names, such as ``train/loss``.

        What an earlier process logged of the step that this one resumed from, such as a validation that is repeated, is
        not written twice.
        """
        if not self._primary:
            return
        if step <= self._first_step:
            values = {name: value for name, value in values.items() if name not in self._logged}
        if values:
            append_scalars(self._scalars, step, values)
            self._events.scalars(step, values)

    def flush(self) -> None:
        """Saves the times; uploads the rest to a workdir on cloud storage. A local workdir has each line at once."""
        if self._primary:
            if self._times is not None:
                self._times.end(TRAINING)
                self._times.save()
            self._folder.upload()

    def close(self) -> None:
        """Closes the files."""
        if self._primary:
            self._events.close()
            self._folder.close()
