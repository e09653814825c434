"""The lock of a workdir: one run at a time writes into it, of however many processes and machines.

``<workdir>/owner.json`` names the process that holds the lock (process 0 of several) and is removed at the end of a
run. A killed run leaves it behind; then, whether its process still lives is known by

- flock, on file systems that have it: while the process lives, the file is locked;
- its pid and its start time, if it ran in this boot of this machine;
- otherwise a sign of life: the owner renews the file every few seconds. No clocks are compared.

Cloud storage has no flock, and epath cannot write an object only if it is absent. There two starts at the same moment
are told apart by reading the object again after a pause: the last to write wins. That fails if a write takes longer
than the pause.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.storage.files import is_remote

OWNER = "owner.json"
LOST_STATUS = 5
"""Exit status of a process whose lock was taken over, such as after its machine was suspended."""

_BEAT_S = 5.0
_SILENCE_S = 20.0
"""Time without a sign of life after which an owner on another machine counts as dead."""
_SETTLE_S = 2.0
"""The pause before an object is read again; longer than a write takes."""


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that holds a workdir.

    Attributes:
      host: Name of its machine.
      pid: Its number there.
      started: Time of the start of the run, in UTC.
      kernel: Boot and process namespace in which ``pid`` is a process; empty if unknown.
      ticks: Start time of the process in the kernel's clock, which a later process of the same pid does not share.
      token: Tells two owners apart.
      beats: Signs of life so far.
    """

    host: str
    pid: int
    started: str
    kernel: str
    ticks: str
    token: str
    beats: int = 0

    @classmethod
    def this_process(cls) -> Owner:
        """A new owner: this process."""
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        pid = os.getpid()
        return cls(socket.gethostname(), pid, started, _kernel(), _start_ticks(pid), secrets.token_hex(8))

    def text(self) -> str:
        """The file's content; every sign of life has the same length, so that it can be written in place."""
        return json.dumps(dataclasses.asdict(self) | {"beats": f"{self.beats:010d}"}, indent=2) + "\n"


def _kernel() -> str:
    """The boot and the process namespace of this process; empty on systems that do not tell."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_ticks(pid: int) -> str:
    """When a process of this machine started; empty if there is none, or it has ended and only its parent knows."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


class WorkdirLock:
    """The lock of one workdir, held from `acquire` to `release` or the end of the process."""

    def __init__(self, workdir: epath.PathLike, optional: bool = False) -> None:
        """Takes nothing yet.

        Args:
          workdir: The run's workdir.
          optional: Whether a workdir that cannot be written needs no lock, as for an evaluation.
        """
        self._folder = epath.Path(workdir)
        self._path = self._folder / OWNER
        self._optional = optional
        self._owner = Owner.this_process()
        self._file: int | None = None
        self._thread: threading.Thread | None = None
        self._released = threading.Event()
        self._released.set()

    def acquire(self) -> None:
        """Takes the lock, also from a process that has died.

        Raises:
          UserError: A live process holds it, or the workdir cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            locked = not is_remote(self._path) and self._flock()
            self._refuse_if_held()
            self._write()
            if not locked:
                time.sleep(_SETTLE_S)
                self._refuse_if_held()
        except UserError:
            self._close()
            raise
        except Exception as error:  # cloud storage has errors of its own
            self._close()
            if self._optional:
                return
            raise UserError(f"{self._folder}: cannot be written ({error}): choose another --workdir") from error
        self._released.clear()
        self._thread = threading.Thread(target=self._beat, name="workdir_lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Gives the lock back."""
        if not self._released.is_set():
            self._released.set()
            if self._thread is not None:
                self._thread.join(_BEAT_S)  # so that it does not write the file again
            with contextlib.suppress(Exception):  # cloud storage has errors of its own
                if self._is_ours():
                    self._path.unlink()
        self._close()

    def __enter__(self) -> WorkdirLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _flock(self) -> bool:
        """Opens and locks the file; returns whether its file system has locks.

        Raises:
          UserError: It is locked.
        """
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._held_by(self._read()) from None
            except OSError:
                return False
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                    return True
            self._close()  # its owner removed the file after it was opened here

    def _refuse_if_held(self) -> None:
        """Raises UserError if the file names another process that lives."""
        owner = self._read()
        if owner is not None and owner.token != self._owner.token and self._lives(owner):
            raise self._held_by(owner)

    def _held_by(self, owner: Owner | None) -> UserError:
        who = "another process" if owner is None else f"process {owner.pid} on {owner.host} since {owner.started}"
        return UserError(
            f"{self._folder}: in use by {who} ({OWNER}): wait until it has ended, or choose another --workdir"
        )

    def _lives(self, owner: Owner) -> bool:
        if owner.kernel and owner.kernel == self._owner.kernel:
            return _start_ticks(owner.pid) == owner.ticks
        print(
            f"{self._folder}: waiting up to {_SILENCE_S:g} s to learn whether process {owner.pid} on {owner.host}, "
            "which used it last, still runs",
            file=sys.stderr,
            flush=True,
        )
        deadline = time.monotonic() + _SILENCE_S
        while time.monotonic() < deadline:
            time.sleep(_BEAT_S / 10)
            now = self._read()
            if now != owner:
                return now is not None
        return False

    def _read(self) -> Owner | None:
        """The owner in the file; None if there is none, or the file is being written for the first time."""
        try:
            values: dict[str, Any] = json.loads(self._path.read_text())
            values["beats"] = int(values["beats"])
            return Owner(**values)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _is_ours(self) -> bool:
        owner = self._read()
        return owner is not None and owner.token == self._owner.token

    def _write(self) -> None:
        text = self._owner.text()
        if self._file is None:
            self._path.write_text(text)
        else:
            os.pwrite(self._file, text.encode(), 0)
            os.ftruncate(self._file, len(text.encode()))

    def _beat(self) -> None:
        while not self._released.wait(_BEAT_S):
            owner = None
            with contextlib.suppress(Exception):  # cloud storage has errors of its own
                owner = self._read()
            if owner is not None and owner.token != self._owner.token:
                text = f"\nerror: {self._folder}: process {owner.pid} on {owner.host} took this workdir over\n"
                os.write(2, text.encode())
                os._exit(LOST_STATUS)
            self._owner = dataclasses.replace(self._owner, beats=self._owner.beats + 1)
            with contextlib.suppress(Exception):  # a full disk or a storage that is out of reach; the next one may do
                self._write()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
