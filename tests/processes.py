"""Starts processes that signals reach, and waits for what they write."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time

TIMEOUT_S = 600


class Processes:
    """Starts processes, and kills those that still run at the end."""

    def __init__(self):
        self._started = []

    def start(self, *command, **options):
        """Starts a command that SIGINT and SIGHUP reach, even where this process was started without them.

        Options go to `subprocess.Popen`; the streams are pipes of text by default.
        """
        before = {  # an ignored signal, as in a shell's background, stays ignored in a child
            number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGHUP)
        }
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self._started.append(subprocess.Popen(list(map(str, command)), **pipes | {"text": True} | options))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._started[-1]

    def python(self, script, *arguments, **options):
        """`start` for a script that is given as text."""
        return self.start(sys.executable, "-c", script, *arguments, **options)

    def close(self):
        """Kills the processes and closes their pipes."""
        for process in self._started:
            process.kill()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
            process.wait()


def wait_for_line(stream, text):
    """Reads lines until one contains the text, and returns it."""
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"the stream ended without {text!r}")


def free_address():
    """host:port of a port that nothing uses."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def ended(processes, timeout_s=TIMEOUT_S):
    """(status, output, errors) of processes that end by themselves in time."""
    deadline = time.monotonic() + timeout_s
    texts = [process.communicate(timeout=max(0.0, deadline - time.monotonic())) for process in processes]
    return [(process.returncode, *text) for process, text in zip(processes, texts, strict=True)]
