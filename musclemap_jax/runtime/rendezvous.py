"""How the processes of a run find each other: each connects to process 0, and all start together.

JAX's own start waits in silence and then aborts the process in C++, in words that blame another one. Here each process
says whom it waits for, and gives up in one line. JAX starts only when all are connected, on a port that process 0
chooses; these connections stay open, for `peers` to watch. Process 0 keeps listening, to turn away the processes of a
second start.

Lines over a connection: the others send ``musclemap_jax NUMBER COUNT``; process 0 answers ``start PORT`` or ``refused
REASON``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from musclemap_jax.errors import UserError

Connection = tuple[socket.socket, Iterator[str]]
"""A connection and the lines that come over it."""

_GREETING = "musclemap_jax"
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
            told += _turn_away(listener, left_s, reason)


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
                raise UserError(
                    f"{group}: waited {group.timeout_s:g} s for {whom}: start all {group.count} processes, allow "
                    "traffic to that port, or raise --connect_timeout_s"
                )
            if (hello := _hello(listener, _RETRY_S)) is not None:
                _admit(group, connections, *hello)
            for number in [number for number, (connection, _) in connections.items() if _is_closed(connection)]:
                connections.pop(number)[0].close()
    except UserError as error:
        _refuse(connections.values(), str(error))
        listener.close()
        raise
    port = _free_port()
    for connection in connections.values():
        _answer(connection, f"start {port}")
    busy = (
        f"{group.address} is used by another run (process 0: pid {os.getpid()} on {socket.gethostname()}, since "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC): wait until it has ended, or choose another --coordinator"
    )
    threading.Thread(target=_turn_away_all, args=(listener, busy), name="rendezvous", daemon=True).start()
    return connections, _with_port(group, port)


def _admit(group: Group, connections: dict[int, Connection], connection: Connection, number: int, count: int) -> None:
    """Adds a process that has said who it is.

    Raises:
      UserError: It was started as one of another number of processes.
    """
    if count != group.count or not 0 < number < group.count:
        text = f"{group}: another process connected as number {number} of {count}: pass the same --num_processes to all"
        _refuse([connection], text)
        raise UserError(text)
    if number in connections and not _is_closed(connections[number][0]):
        _refuse([connection], f"process 0 at {group.address} already has a process {number}: pass another --process_id")
    else:
        connections[number] = connection


def _join(group: Group) -> tuple[dict[int, Connection], str]:
    """The part of the other processes."""
    progress = _Progress(group)
    while True:
        answer, reason = _ask(group, progress)
        if answer is not None:
            connection, lines, words = answer
            verdict, _, rest = words.partition(" ")
            if verdict == "start":
                return {0: (connection, lines)}, _with_port(group, int(rest))
            connection.close()
            raise UserError(rest if rest.startswith("process 0 of") else f"{group}: {rest}")
        whom = f"process 0 at {group.address} ({reason})"
        progress.report(whom)
        if progress.waited_s > group.timeout_s:
            raise UserError(
                f"{group}: waited {group.timeout_s:g} s for {whom}: start process 0 there, allow traffic to that port, "
                "correct --coordinator, or raise --connect_timeout_s"
            )
        time.sleep(_RETRY_S)


def _ask(group: Group, progress: _Progress) -> tuple[tuple[socket.socket, Iterator[str], str] | None, str]:
    """Connects to process 0 and waits for its answer; returns connection, further lines and answer, or the reason."""
    try:
        connection = socket.create_connection((group.host, group.port), timeout=_HELLO_TIMEOUT_S)
    except OSError as error:
        return None, error.strerror or str(error)
    try:
        connection.sendall(f"{_GREETING} {group.number} {group.count}\n".encode())
        while not _has_input(connection, 1.0):
            progress.report(f"the others, as process 0 at {group.address} does")
            if progress.waited_s > group.timeout_s + _VERDICT_MARGIN_S:
                connection.close()
                return None, "it does not answer"
        lines = _lines(connection)
        answer = next(lines, "")
        if answer.partition(" ")[0] in ("start", "refused"):
            return (connection, lines, answer), ""
        reason = "another program answers there" if answer else "it closed the connection"
    except OSError as error:
        reason = error.strerror or str(error)
    connection.close()
    return None, reason


def _hello(listener: socket.socket, timeout_s: float) -> tuple[Connection, int, int] | None:
    """Takes a connection and what the process says, its number and count; None if none comes or it is a stranger."""
    listener.settimeout(timeout_s)
    connection = None
    try:
        connection, _ = listener.accept()
        connection.settimeout(_HELLO_TIMEOUT_S)
        lines = _lines(connection)
        greeting, number, count = next(lines, "").split()
        if greeting == _GREETING:
            return (connection, lines), int(number), int(count)
    except (OSError, ValueError):
        pass
    if connection is not None:
        connection.close()
    return None


def _turn_away(listener: socket.socket, timeout_s: float, reason: str) -> int:
    """Refuses the next process that comes in time; returns how many came, 0 or 1."""
    hello = _hello(listener, timeout_s)
    if hello is None:
        return 0
    _refuse([hello[0]], reason)
    return 1


def _turn_away_all(listener: socket.socket, reason: str) -> None:
    while True:
        _turn_away(listener, _REPORT_EVERY_S, reason)


def _answer(connection: Connection, text: str) -> None:
    with contextlib.suppress(OSError):  # the process has gone
        connection[0].sendall(f"{text}\n".encode())


def _refuse(connections: Iterable[Connection], reason: str) -> None:
    for connection in connections:
        _answer(connection, f"refused {reason}")
        connection[0].close()


def _has_input(connection: socket.socket, timeout_s: float) -> bool:
    """Whether something can be read, or the other side has closed the connection."""
    poll = select.poll()  # unlike select, for any number of open files
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _is_closed(connection: socket.socket) -> bool:
    try:
        return _has_input(connection, 0) and connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _lines(connection: socket.socket) -> Iterator[str]:
    with connection.makefile(encoding="utf-8", errors="replace") as file:
        for line in file:
            yield line.rstrip("\n")


def _listener(group: Group) -> socket.socket:
    """Listens on the port of process 0.

    Raises:
      UserError: The port is in use, or may not be used.
    """
    try:
        return _server(group.port, group.count)
    except OSError as error:
        reason = "in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise UserError(
            f"{group}: could not listen on port {group.port} ({reason}): another run or program may use it: choose "
            "another port in --coordinator"
        ) from error


def _server(port: int, backlog: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=dual)


def _free_port() -> int:
    with _server(0, 1) as server:
        return server.getsockname()[1]


def _with_port(group: Group, port: int) -> str:
    return f"{group.address.rpartition(':')[0]}:{port}"


def _names(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    return f"process{'es' if len(numbers) > 1 else ''} {shown}"
