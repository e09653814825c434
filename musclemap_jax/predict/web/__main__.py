"""Serves a page on which a video is dropped or recorded, and answered.

    python -m musclemap_jax.predict.web
    python -m musclemap_jax.predict.web --run=runs/demo --port=8000

The page is for this machine alone unless --host says otherwise, needs no internet, and keeps nothing: a video is
deleted as soon as it is answered. It needs the extra `web`. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import UserError
from musclemap_jax.predict.command import add_model_arguments, add_pose_arguments, request_of, run_command
from musclemap_jax.predict.unfinished import remove_abandoned, unfinished
from musclemap_jax.predict.web.jobs import Jobs
from musclemap_jax.predict.web.worker_process import WorkerProcess
from musclemap_jax.runtime.cache_folder import cache_folder
from musclemap_jax.runtime.process_exit import exit_process

WORKER = (sys.executable, "-m", "musclemap_jax.predict.web.worker")

SILENCE_S = 120.0
_BODY_TIMEOUT_S = 900.0
_IDLE_TIMEOUT_S = 60.0
_MAX_HEADER_BYTES, _MAX_BODY_BYTES = 16 << 10, 64 << 10
"""Of all requests but uploads, which have a limit of their own."""

_LOCAL = ("127.0.0.1", "::1", "localhost")


def _parser() -> Parser:
    parser = Parser(prog="python -m musclemap_jax.predict.web", description=(__doc__ or "").splitlines()[0])
    add_model_arguments(parser)
    add_pose_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=_number(0, 65535), default=8000, help="port; 0 takes a free one (8000)")
    parser.add_argument(
        "--max_upload_mb", type=_number(1, 4096), default=200, metavar="MB", help="size of the largest video (200)"
    )
    parser.add_argument(
        "--max_minutes", type=_number(1, 240), default=10, metavar="M", help="length of the longest video (10)"
    )
    parser.add_argument("--max_waiting", type=_number(1, 100), default=8, metavar="N", help="videos that may wait (8)")
    return parser


def main(arguments: Sequence[str] | None = None, worker: Sequence[str] = WORKER) -> int:
    """Runs the command; returns the exit status.

    Args:
      arguments: Those of the command line.
      worker: Starts a worker.
    """

    def body() -> None:
        args = _parser().parse_args(expand_home(arguments))
        try:
            import tornado  # noqa: F401
        except ImportError:
            raise UserError("the page needs the extra web: pip install 'musclemap_jax[web]'") from None
        settings = {
            "run": args.run,
            "request": dataclasses.asdict(request_of(args)),
            "max_s": 60.0 * args.max_minutes,
        }
        asyncio.run(_serve(args, [*worker, json.dumps(settings)]))

    return run_command(body)


async def _serve(args: argparse.Namespace, worker_command: Sequence[str]) -> None:
    """Serves until a signal comes."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    root = cache_folder() / "web"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_abandoned(root)
    worker = WorkerProcess(worker_command, SILENCE_S)
    with _listen(args.host, args.port) as listener, unfinished(root / "uploads", Path.mkdir) as folder:
        tasks = [asyncio.create_task(stop.wait()), asyncio.create_task(_run(args, worker, listener, folder))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                await tasks[1]  # raises what is wrong
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await worker.stop()
            shutil.rmtree(folder, ignore_errors=True)


async def _run(args: argparse.Namespace, worker: WorkerProcess, listener: socket.socket, folder: Path) -> None:
    """Starts the worker, then the server, and works for ever."""
    from tornado.httpserver import HTTPServer

    from musclemap_jax.predict.web.server import make_application

    await worker.start()
    jobs = Jobs(worker, args.max_waiting)
    name = args.run or "the small model of the package"
    max_bytes, is_local = args.max_upload_mb << 20, args.host in _LOCAL
    application = make_application(jobs, folder, max_bytes, name, worker.exercises, is_local)
    server = HTTPServer(
        application,
        idle_connection_timeout=_IDLE_TIMEOUT_S,
        body_timeout=_BODY_TIMEOUT_S,
        max_header_size=_MAX_HEADER_BYTES,
        max_body_size=_MAX_BODY_BYTES,
    )
    server.add_socket(listener)
    print(f"http://{_shown_host(args.host)}:{listener.getsockname()[1]}/  (Ctrl-C ends it)", flush=True)
    await asyncio.gather(jobs.work(), jobs.sweep())


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise UserError(f"--host={host} --port={port}: cannot listen there: {reason}: choose another --port") from error
    listener.setblocking(False)
    return listener


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _number(least: int, most: int):
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from {least} to {most}, got {text!r}")
        return int(text)

    return parse


if __name__ == "__main__":
    exit_process(main())
