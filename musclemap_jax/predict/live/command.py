"""`python -m musclemap_jax.predict --camera=0`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from musclemap_jax.errors import UserError
from musclemap_jax.predict.live.camera import PACES, REAL_TIME, find_camera
from musclemap_jax.predict.names import folder_name, shown
from musclemap_jax.predict.output_folder import results_folder
from musclemap_jax.predict.outputs import write_muscles
from musclemap_jax.predict.request import ALL, Request

if TYPE_CHECKING:
    from musclemap_jax.predict.live.session import Live


def add_camera_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --camera and --pace."""
    group = parser.add_argument_group("camera")
    group.add_argument(
        "--camera", metavar="SOURCE", help="answer live: number or path of a camera, or a video file played as one"
    )
    group.add_argument(
        "--pace", choices=PACES, help=f"how a video file is played: full_speed drops no frame ({REAL_TIME})"
    )


def check_camera_arguments(arguments: argparse.Namespace) -> None:
    """Refuses arguments that say nothing about a camera, or nothing without one.

    Raises:
      UserError: There are such arguments, or there is no such camera.
    """
    if arguments.camera is None:
        if arguments.pace:
            raise UserError("--pace: is for a video file played as a camera: pass --camera=FILE")
        return
    if arguments.videos:
        raise UserError(f"--camera: goes without videos, got {shown(arguments.videos[0])}: leave one of them out")
    for name in ("skeleton", "annotate", "expect", "reference", "explain"):
        if getattr(arguments, name):
            raise UserError(f"--{name}: is for video files, got --camera: leave one of them out")
    if arguments.person == ALL:
        raise UserError("--person=all: a camera is answered for one person or all together: pass a number")
    find_camera(arguments.camera)


def results_name(source: str) -> str:
    """Name of the folder of results: `camera0`, or the name of a file."""
    return f"camera{source}" if source.isdecimal() else folder_name(source)


def run_live(arguments: argparse.Namespace, request: Request, target: Path | None) -> None:
    """Answers a camera until Ctrl-C, or the end of a video file.

    Args:
      arguments: Those of the command.
      request: How to predict.
      target: Folder of the results, which are written at the end; None writes none.

    Raises:
      UserError: The camera does not open, or stops; the results of the time before that are written.
    """
    from musclemap_jax.predict.live.display import Display
    from musclemap_jax.predict.live.session import Live
    from musclemap_jax.predict.model import load
    from musclemap_jax.runtime.compilation_cache import use_compilation_cache

    use_compilation_cache()
    person = request.person if isinstance(request.person, int) else None
    options = {"pace": arguments.pace or REAL_TIME, "pose": request.pose, "person": person}
    live = Live(load(arguments.run), arguments.camera, overlap=arguments.overlap, **options)
    try:
        with live, contextlib.nullcontext() if arguments.quiet else Display(live, sys.stdout) as display:
            for newest in live:
                if display is not None:
                    display.show(newest)
    except KeyboardInterrupt:  # how a camera is ended
        if not live.answers:
            raise
    finally:
        if target is not None and live.answers:
            _write(live, target, arguments.quiet)


def _write(live: Live, target: Path, quiet: bool) -> None:
    with results_folder(target) as folder:
        write_muscles(folder, [dataclasses.replace(live.prediction(), source=live.name)])
    if not quiet:
        print(f"results: {shown(target)}")
