"""How the processes of a run find each other: each connects to process 0, and all start together.

JAX's own start waits in silence and then aborts the process in C++, in words that blame another one. Here each process
says whom it waits for, and gives up in one line. JAX starts only when all are connected, on a port that process 0
chooses; these connections stay open, for `peers` to watch. Process 0 keeps listening, to turn away the processes of a
second start.

Lines over a connection: the others send ``musclemap_jax NUMBER COUNT``; process 0 answers ``start PORT``, ``refused
REASON`` or, when others did not come in time, ``late REASON``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from musclemap_jax.errors import AbsentProcessError, UserError
from musclemap_jax.runtime.connection import Connection, free_port, listen

_GREETING = "musclemap_jax"
_REFUSED, _LATE = "refused", "late"
"""Verdicts of process 0: it cannot start, or others did not come in time."""
_HELLO_TIMEOUT_S = 5.0
_RETRY_S = 0.3
_FIRST_REPORT_S, _REPORT_EVERY_S = 2.0, 10.0
_VERDICT_MARGIN_S = 10.0
"""How much longer a connected process waits than process 0, which says who is absent."""
_REFUSAL_S = 5.0
"""How long a process 0 that cannot start stays to say so to the others."""


@dataclass(frozen=True)
class Group:
    """The processes of a run, seen from one of them.

    Attributes:
      address: host:port of process 0.
      number: Number of this process, from 0.
      count: Number of processes, at least 2.
      timeout_s: Seconds to wait for all of them.
    """

    address: str
    number: int
    count: int
    timeout_s: float

    @property
    def host(self) -> str:
        """Machine of process 0."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port of process 0."""
        return int(self.address.rpartition(":")[2])

    def with_port(self, port: int | str) -> str:
        """host:port of another port of process 0's machine."""
        return f"{self.address.rpartition(':')[0]}:{port}"

    def __str__(self) -> str:
        return f"process {self.number} of {self.count} on {socket.gethostname()}"


def meet(group: Group) -> tuple[dict[int, Connection], str]:
    """Waits until all processes are there.

    Returns:
      The connections of this process, by the number of the other one (process 0 has one to each, the others one to
      process 0); and the address for JAX's coordination service.

    Raises:
      UserError: Some did not come in time, or process 0 refuses to start.
    """
    return _gather(group) if group.number == 0 else _join(group)


def refuse(group: Group, reason: str) -> None:
    """Says to the other processes, as process 0, that the run cannot start; waits a few seconds for them to ask."""
    with contextlib.suppress(UserError), _listener(group) as listener:
        deadline = time.monotonic() + min(_REFUSAL_S, group.timeout_s)
        told = 0
        while told < group.count - 1 and (left_s := deadline - time.monotonic()) > 0:
            if (hello := _next_hello(listener, left_s)) is not None:
                _turn_away(hello[0], reason)
                told += 1


class _Progress:
    """Says now and then, on stderr, what this process is waiting for."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._started = time.monotonic()
        self._next_s = _FIRST_REPORT_S

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._started

    def report(self, whom: str) -> None:
        if self.waited_s >= self._next_s:
            text = f"{self._group}: waiting for {whom} ({self.waited_s:.0f} of {self._group.timeout_s:g} s)"
            print(text, file=sys.stderr, flush=True)
            self._next_s = max(_REPORT_EVERY_S, self._next_s + _REPORT_EVERY_S)


def _gather(group: Group) -> tuple[dict[int, Connection], str]:
    """The part of process 0."""
    connections: dict[int, Connection] = {}
    progress = _Progress(group)
    listener = _listener(group)
    try:
        while absent := sorted(set(range(1, group.count)) - connections.keys()):
            whom = f"{_names(absent)} to connect to {group.address}"
            progress.report(whom)
            if progress.waited_s > group.timeout_s:
                raise AbsentProcessError(
                    f"{group}: waited {group.timeout_s:g} s for {whom}: start all {group.count} processes, allow "
                    "traffic to that port, or raise --connect_timeout_s"
                )
            if (hello := _next_hello(listener, _RETRY_S)) is not None:
                _admit(group, connections, *hello)
            for number in [number for number, connection in connections.items() if connection.is_closed()]:
                connections.pop(number).close()
    except UserError as error:
        verdict = _LATE if isinstance(error, AbsentProcessError) else _REFUSED
        for connection in connections.values():
            _turn_away(connection, str(error), verdict)
        listener.close()
        raise
    port = free_port()
    for connection in connections.values():
        with contextlib.suppress(OSError):  # `peers` will notice
            connection.send(f"start {port}")
    threading.Thread(target=_turn_away_all, args=(group, listener), name="rendezvous", daemon=True).start()
    return connections, group.with_port(port)


def _admit(group: Group, connections: dict[int, Connection], connection: Connection, number: int, count: int) -> None:
    """Adds a process that has said who it is.

    Raises:
      UserError: It was started as one of another number of processes.
    """
    if count != group.count or not 0 < number < group.count:
        text = f"{group}: another process connected as number {number} of {count}: pass the same --num_processes to all"
        _turn_away(connection, text)
        raise UserError(text)
    if number in connections and not connections[number].is_closed():
        text = f"process 0 at {group.address} already has a process {number}: pass another --process_id"
        _turn_away(connection, text)
    else:
        connections[number] = connection


def _join(group: Group) -> tuple[dict[int, Connection], str]:
    """The part of the other processes."""
    progress = _Progress(group)
    while True:
        try:
            return _ask(group, progress)
        except OSError as error:
            whom = f"process 0 at {group.address} ({error.strerror or error})"
        progress.report(whom)
        if progress.waited_s > group.timeout_s:
            raise AbsentProcessError(
                f"{group}: waited {group.timeout_s:g} s for {whom}: start process 0 there, allow traffic to that port, "
                "correct --coordinator, or raise --connect_timeout_s"
            )
        time.sleep(_RETRY_S)


def _ask(group: Group, progress: _Progress) -> tuple[dict[int, Connection], str]:
    """Connects to process 0 and waits for its answer.

    Raises:
      UserError: Process 0 refuses to start.
      OSError: It is not there, or did not answer.
    """
    connection = Connection.over(socket.create_connection((group.host, group.port), timeout=_HELLO_TIMEOUT_S))
    try:
        connection.send(f"{_GREETING} {group.number} {group.count}")
        while not connection.has_input(1.0):
            progress.report(f"the others, as process 0 at {group.address} does")
            if progress.waited_s > group.timeout_s + _VERDICT_MARGIN_S:
                raise ConnectionError("it does not answer")
        verdict, _, rest = next(connection.lines, "").partition(" ")
        if verdict == "start":
            return {0: connection}, group.with_port(rest)
        if verdict in (_REFUSED, _LATE):
            kind = AbsentProcessError if verdict == _LATE else UserError
            raise kind(rest if rest.startswith("process 0 of") else f"{group}: {rest}")
        raise ConnectionError("another program answers there" if verdict else "it closed the connection")
    except BaseException:
        connection.close()
        raise


def _next_hello(listener: socket.socket, timeout_s: float) -> tuple[Connection, int, int] | None:
    """The next connection, with the number and the count that the process says; None if none comes, or a stranger."""
    listener.settimeout(timeout_s)
    try:
        connection = Connection.over(listener.accept()[0])
    except OSError:
        return None
    try:
        connection.socket.settimeout(_HELLO_TIMEOUT_S)
        greeting, number, count = next(connection.lines, "").split()
        if greeting == _GREETING:
            return connection, int(number), int(count)
    except (OSError, ValueError):
        pass
    connection.close()
    return None


def _turn_away(connection: Connection, reason: str, verdict: str = _REFUSED) -> None:
    with contextlib.suppress(OSError):  # the process has gone
        connection.send(f"{verdict} {reason}")
    connection.close()


def _turn_away_all(group: Group, listener: socket.socket) -> None:
    """Turns away whoever comes while the run goes on."""
    busy = (
        f"{group.address} is used by another run (process 0: pid {os.getpid()} on {socket.gethostname()}, since "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC): wait until it has ended, or choose another --coordinator"
    )
    while True:
        if (hello := _next_hello(listener, _REPORT_EVERY_S)) is not None:
            _turn_away(hello[0], busy)


def _listener(group: Group) -> socket.socket:
    """Listens on the port of process 0.

    Raises:
      UserError: The port is in use, or may not be used.
    """
    try:
        return listen(group.port, group.count)
    except OSError as error:
        reason = "in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise UserError(
            f"{group}: could not listen on port {group.port} ({reason}): another run or program may use it: choose "
            "another port in --coordinator"
        ) from error


def _names(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    return f"process{'es' if len(numbers) > 1 else ''} {shown}"
