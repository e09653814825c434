"""Per-process logs in ``<workdir>/logs``; process 0 also logs to the terminal.

What libraries log through absl, such as Orbax's tracebacks of a failed save, is in these files alone: on the terminal
it would hide the line that says what to do. So are errors of Python functions that C++ code calls in threads of its
own, such as TensorStore's, which writes on after the first failure.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
import threading

import jax
from etils import epath

from musclemap_jax.storage.files import LocalFolder

FOLDER = "logs"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def given_command() -> str:
    """The command that started this process, ready to be run again."""
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    return shlex.join(["python", *(["-m", module] if module else sys.argv[:1]), *sys.argv[1:]])


class _File(logging.FileHandler):
    """A log file; what cannot be written, such as on a full disk, is left out."""

    def handleError(self, record: logging.LogRecord) -> None:
        del record

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class ProcessLog:
    """This process's log file."""

    def __init__(self, workdir: epath.PathLike, package: str) -> None:
        """Opens ``<workdir>/logs/process_000.log``; processes other than 0 show only warnings on the terminal.

        Args:
          workdir: The run's workdir.
          package: Name of the package's root logger.
        """
        name = f"process_{jax.process_index():03d}.log"
        self._folder = LocalFolder(epath.Path(workdir) / FOLDER, fetch=(name,))
        self._handler = _File(self._folder.path / name)
        self._handler.setFormatter(logging.Formatter(_FORMAT))
        self._libraries = logging.getLogger("absl")
        self._libraries.propagate = False
        self._loggers = (logging.getLogger(package), self._libraries)
        for logger in self._loggers:
            logger.addHandler(self._handler)
        self._unraisable = sys.unraisablehook
        sys.unraisablehook = self._log_callback_error
        if jax.process_index() != 0:
            for handler in logging.getLogger().handlers:
                handler.setLevel(logging.WARNING)

    def _log_callback_error(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Takes errors that nobody can catch; those of other threads go to the file, even after `close`."""
        error = unraisable.exc_value
        if error is None or threading.current_thread() is threading.main_thread():
            self._unraisable(unraisable)
            return
        details = (unraisable.exc_type, error, unraisable.exc_traceback)
        record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, "in a callback", None, details)
        with contextlib.suppress(OSError):
            self._handler.handle(record)

    def close(self) -> None:
        """Closes the file."""
        for logger in self._loggers:
            logger.removeHandler(self._handler)
        self._libraries.propagate = True
        self._handler.close()
        self._folder.close()
