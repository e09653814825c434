"""TensorBoard events of a run's scalars: one event per row, on disk as soon as it is written."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path


class EventFile:
    """A new file of events in a folder, beside those of earlier sessions of the run.

    tensorboardX's SummaryWriter queues events for a thread, which a kill loses; this class writes them itself.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        """Makes the folder and opens the file.

        Args:
          folder: Where to write.
          first_step: The step that the run resumes from, 0 for a new run; TensorBoard forgets all events of later
            steps in earlier files, because this session writes them again.
        """
        # The import takes a second; processes that write no events do not need it.
        from tensorboardX.event_file_writer import EventsWriter

        events, summaries = (importlib.import_module(f"tensorboardX.proto.{name}_pb2") for name in ("event", "summary"))
        self._event, self._summary = events.Event, summaries.Summary
        folder.mkdir(parents=True, exist_ok=True)
        # The name holds the time in seconds; nanoseconds keep two sessions of one second apart and in order.
        self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns() % 10**9:09d}")
        start = events.SessionLog(status=events.SessionLog.START)
        self._write(first_step + 1, session_log=start)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values of a step under their names."""
        rows = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step, summary=self._summary(value=rows))

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _write(self, step: int, **content: object) -> None:
        self._writer.write_event(self._event(wall_time=time.time(), step=step, **content))
        self._writer.flush()
