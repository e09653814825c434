"""How far a run is: a bar on a terminal, lines elsewhere; the log of process 0 has the lines in any case."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import tqdm

log = logging.getLogger(__name__)
_beside_bar = logging.getLogger(f"{__name__}.beside_bar")
"""Lines that a terminal does not need, since the bar says the same."""


class Progress:
    """Shows the progress of a training run; on processes other than 0, every method does nothing."""

    def __init__(self, first_step: int, num_steps: int, primary: bool = True) -> None:
        """Starts the bar if stderr is a terminal.

        Args:
          first_step: Number of steps already taken.
          num_steps: Length of the run.
          primary: Whether this is process 0.
        """
        self._num_steps, self._primary, self._bar = num_steps, primary, None
        if primary and sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=num_steps, initial=first_step, desc="train", unit="step", dynamic_ncols=True)
            for handler in logging.getLogger().handlers:
                handler.addFilter(_is_not_beside_bar)

    def advance(self) -> None:
        """Advances the bar by one step."""
        if self._bar is not None:
            self._bar.update()

    def show(self, step: int, values: Mapping[str, str]) -> None:
        """Shows values of a step, by name: beside the bar or as a line."""
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)
        self._line(_beside_bar, step, values)

    def report(self, step: int, values: Mapping[str, str]) -> None:
        """Shows values of a step that stay on the terminal, such as a validation's."""
        if self._bar is not None:
            self._bar.clear()
        self._line(log, step, values)

    def _line(self, logger: logging.Logger, step: int, values: Mapping[str, str]) -> None:
        if self._primary:
            text = ", ".join(f"{name} {value}" for name, value in values.items())
            logger.info("train: step %d of %d: %s", step, self._num_steps, text)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
            for handler in logging.getLogger().handlers:
                handler.removeFilter(_is_not_beside_bar)


def _is_not_beside_bar(record: logging.LogRecord) -> bool:
    return record.name != _beside_bar.name
