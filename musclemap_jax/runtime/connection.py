"""TCP connections that carry lines of text."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Generator
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Connection:
    """A connection to another process.

    Attributes:
      socket: The connected socket; its timeout is that of each read and write.
      lines: The lines that come over it, without their ends; reading may raise OSError.
    """

    socket: socket.socket
    lines: Generator[str]

    @classmethod
    def over(cls, connected: socket.socket) -> Connection:
        """A connection over a connected socket."""
        return cls(connected, _lines(connected))

    def send(self, text: str) -> None:
        """Sends a line.

        Raises:
          OSError: The other process has gone, or does not read.
        """
        self.socket.sendall(f"{text}\n".encode())

    def has_input(self, timeout_s: float = 0.0) -> bool:
        """Whether something can be read in time, or the other side has closed the connection."""
        poll = select.poll()  # unlike select, for any number of open files
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def is_closed(self) -> bool:
        """Whether the other side has closed the connection."""
        try:
            return self.has_input() and self.socket.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def close(self) -> None:
        """Closes the connection, and ends the lines of a thread that reads them."""
        with contextlib.suppress(OSError):  # the other side may have gone
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with contextlib.suppress(ValueError):  # the thread that reads them closes them
            self.lines.close()


def _lines(connected: socket.socket) -> Generator[str]:
    with connected.makefile(encoding="utf-8", errors="replace") as file:
        for line in file:
            yield line.rstrip("\n")


def listen(port: int, backlog: int) -> socket.socket:
    """Listens on a port of all addresses of this machine; 0 for any free port.

    Raises:
      OSError: The port is in use, or may not be used.
    """
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=dual)


def free_port() -> int:
    """A port on which nothing listens."""
    with listen(0, 1) as server:
        return server.getsockname()[1]
