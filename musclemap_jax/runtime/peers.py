"""Watches the other processes of a run and, when one of them dies, ends this one with a line that names it.

JAX's coordination service notices a death too, but ends the process by an abort in its own words: at once if process 0
is gone, else after a long silence. Here every process holds a TCP connection to process 0. The kernel closes it when a
process dies; a machine that vanished or froze is recognised by its silence. Process 0 passes on what it learns.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from jax._src import distributed  # the key-value store and the address of process 0 have no public name

from musclemap_jax.errors import UserError

PEER_DIED_STATUS = 4
"""Exit status of a process that ends because another one died."""

_KEY = "musclemap_jax/peers"
_CONNECT_TIMEOUT_S = 300
_HELLO_TIMEOUT_S = 30
_FAREWELL_S = 5.0
_BEATS = 8
"""Signs of life that a process sends in the time after which it counts as dead."""


class PeerWatch:
    """Threads that exchange signs of life with process 0 or, as process 0, with all the others."""

    def __init__(self, timeout_s: float) -> None:
        """Connects to the others; call it right after `jax.distributed.initialize`.

        Args:
          timeout_s: Seconds of silence after which a process counts as dead.

        Raises:
          UserError: Process 0 cannot be reached, or another one did not reach it.
        """
        state: Any = distributed.global_state
        self.timeout_s = timeout_s
        self._number, self._count = state.process_id, state.num_processes
        self._done: set[int] = set()
        self._sending = threading.Lock()
        self._leaving = threading.Event()
        self._alone = threading.Event()
        _delay_abort()
        if self._number == 0:
            listener, token = _listen(self._count), secrets.token_hex(8)
            state.client.key_value_set(_KEY, f"{listener.getsockname()[1]} {token}")
            connections = _accept(listener, token, set(range(1, self._count)))
        else:
            port, token = state.client.blocking_key_value_get(_KEY, _CONNECT_TIMEOUT_S * 1000).split()
            connection = _connect(state.coordinator_address, int(port), f"{self._number} {token}\n")
            connections = {0: (connection, _lines(connection))}
        self._connections = {number: connection for number, (connection, _) in connections.items()}
        for number, (connection, lines) in connections.items():
            connection.settimeout(timeout_s)
            _start(self._listen_to, number, lines)
        _start(self._beat)

    def leave(self) -> None:
        """Tells the others that this process is done, so that its end is no failure; it keeps watching them."""
        self._send("done")

    def close(self) -> None:
        """Stops watching."""
        self._leaving.set()

    def report_failure(self, status: int, reason: str) -> None:
        """Makes the others exit too; call it just before this process exits.

        Args:
          status: The exit status of all processes.
          reason: One line for their messages.
        """
        self._leaving.set()
        self._pass_on(self._number, status, f"process {self._number} failed: {reason}")

    def _pass_on(self, number: int, status: int, reason: str) -> None:
        self._send(f"failed {number} {status} {reason}")
        # Process 0 exits last: JAX's service goes with it, and so may what it has just sent.
        self._alone.wait(_FAREWELL_S if self._number == 0 else 0)

    def _send(self, text: str) -> None:
        with self._sending:
            for connection in list(self._connections.values()):
                with contextlib.suppress(OSError):  # the thread that listens to it notices
                    connection.sendall(f"{text}\n".encode())

    def _beat(self) -> None:
        while True:
            self._send("alive")
            time.sleep(self.timeout_s / _BEATS)

    def _listen_to(self, number: int, lines: Iterator[str]) -> None:
        how = "its connection closed"
        try:
            for line in lines:
                word, _, rest = line.partition(" ")
                if word == "failed":
                    culprit, status, reason = rest.split(" ", 2)
                    self._end(int(culprit), int(status), reason)
                elif word == "done":
                    self._done.add(number)
        except TimeoutError:
            how = f"no sign of life for {self.timeout_s:g} s"
        except OSError:
            pass  # a connection that was reset
        del self._connections[number]
        if not self._connections:
            self._alone.set()
        if number not in self._done:
            self._end(number, PEER_DIED_STATUS, f"process {number} died: {how}: see its log, process_{number:03d}.log")

    def _end(self, number: int, status: int, reason: str) -> None:
        """Passes a failure on and exits, unless this process is already leaving."""
        if self._leaving.is_set():
            return
        self._leaving.set()
        self._pass_on(number, status, reason)
        # Starts a new line after the progress bar; unbuffered, since the main thread may hold the buffer's lock.
        text = f"\nerror: process {self._number} of {self._count} on {socket.gethostname()}: {reason}\n"
        os.write(2, text.encode())
        os._exit(status)


def _start(function: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, name="peer_watch", daemon=True).start()


def _lines(connection: socket.socket) -> Iterator[str]:
    with connection.makefile(encoding="utf-8", errors="replace") as file:
        for line in file:
            yield line.rstrip("\n")


def _listen(count: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    return socket.create_server(("", 0), family=family, backlog=count, dualstack_ipv6=dual)


def _accept(listener: socket.socket, token: str, absent: set[int]) -> dict[int, tuple[socket.socket, Iterator[str]]]:
    """Takes the connections of the others, with the lines that come over them; drops one that lacks the token."""
    connections = {}
    deadline = time.monotonic() + _CONNECT_TIMEOUT_S
    with listener:
        while absent:
            listener.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, _ = listener.accept()
                connection.settimeout(_HELLO_TIMEOUT_S)
                lines = _lines(connection)
                number, _, given = next(lines, "").partition(" ")
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise UserError(
                        f"process {min(absent)} did not connect to process 0: open all ports between the machines"
                    ) from error
                continue
            if secrets.compare_digest(given.encode(), token.encode()):
                absent.remove(int(number))
                connections[int(number)] = connection, lines
    return connections


def _connect(coordinator: str, port: int, hello: str) -> socket.socket:
    host = coordinator.rpartition(":")[0].strip("[]")
    try:
        connection = socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S)
        connection.sendall(hello.encode())
        return connection
    except OSError as error:
        raise UserError(
            f"could not connect to process 0 at {host}:{port} ({error}): open all ports between the machines"
        ) from error


def _delay_abort() -> None:
    """Delays an abort, by which JAX's own watch ends the process, until this watch has named the dead process.

    The handler of SIGABRT is `sleep`, which gets the signal's number, 6, as its seconds; then the abort continues.
    """
    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    library.signal(signal.SIGABRT, ctypes.cast(library.sleep, ctypes.c_void_p))
