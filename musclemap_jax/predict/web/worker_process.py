"""The server's side of the worker: starts it, asks it, and replaces it when it dies or is silent for too long."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Any

from musclemap_jax.errors import UserError

START_TIMEOUT_S = 600.0
"""Loading and compiling a large model on a busy machine."""

_MAX_LINE_BYTES = 1 << 20


class WorkerError(Exception):
    """The worker died, or was ended since it was silent."""


class WorkerProcess:
    """One worker at a time.

    Attributes:
      exercises: Names of the exercises that can be expected of a video, once a worker has started.
    """

    def __init__(self, command: Sequence[str], silence_s: float) -> None:
        """
        Args:
          command: Starts a worker.
          silence_s: A worker that says nothing for so long is ended.
        """
        self.exercises: list[str] = []
        self._command, self._silence_s = command, silence_s
        self._process: Process | None = None

    async def start(self) -> None:
        """Starts a worker unless one runs.

        Raises:
          UserError: It has no model.
          WorkerError: It does not start.
        """
        if self._process is not None and self._process.returncode is None:
            return
        await self.stop()  # one that died while nobody asked it
        # In a session of its own, Ctrl-C reaches the server alone, which ends the worker when it is ready.
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, limit=_MAX_LINE_BYTES, start_new_session=True
        )
        message = await self._receive(START_TIMEOUT_S)
        if "refused" in message:
            await self.stop()
            raise UserError(message["refused"])
        self.exercises = message["exercises"]

    async def answer(self, task: dict[str, Any], on_progress: Callable[[float], None]) -> dict[str, Any]:
        """Asks the worker, which is started if need be.

        Args:
          task: What to do, as `worker` describes it.
          on_progress: Called with the fraction that is done.

        Returns:
          The last message.

        Raises:
          WorkerError: It died or was ended; the next call starts another one.
        """
        await self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        while True:
            message = await self._receive(self._silence_s)
            if "progress" not in message:
                return message
            on_progress(message["progress"])

    def kill(self) -> None:
        """Ends the worker at once; who waits for its answer gets a WorkerError."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """Ends the worker, and waits for its end."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def _receive(self, timeout_s: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError:
            line = b""
        if not line.endswith(b"\n"):
            await self.stop()
            raise WorkerError
        return json.loads(line)
