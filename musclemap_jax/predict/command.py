"""What the commands of prediction share: arguments, and how they end."""

from __future__ import annotations

import argparse
import math
import signal
import threading
from collections.abc import Callable

from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.predict.request import ALL, Request
from tfds_musclemap.importing.skeleton_conversion import INPUT_LAYOUTS


def run_command(body: Callable[[], int | None]) -> int:
    """Runs the body of a command; Ctrl-C and SIGTERM let it clean up, and end it with status 130.

    Args:
      body: Returns the exit status, None for 0; a UserError becomes one line on stderr and status 2.

    Returns:
      The exit status.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if in_main_thread else None
    try:
        return exit_on_user_error(body)
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --run and --overlap."""
    parser.add_argument("--run", metavar="RUN", help="workdir or weights of a model (default: the one that is shipped)")
    parser.add_argument(
        "--overlap",
        type=_fraction,
        help="fraction that windows share, below 1 (0; of a camera: a window every half second)",
    )


def add_person_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds --person, --pose, --pose_model and --skeleton_layout; returns their group."""
    group = parser.add_argument_group("persons")
    group.add_argument("--person", type=_person, metavar="N", help="number of a person, or all for each on their own")
    add_pose_arguments(group)
    group.add_argument(
        "--skeleton_layout", choices=INPUT_LAYOUTS, default="coco17", help="joint order of skeletons (coco17)"
    )
    return group


def add_pose_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds --pose and --pose_model."""
    parser.add_argument(
        "--pose",
        choices=("auto", "none"),
        default="auto",
        help="auto: skeletons beside the video, else a pose estimator; none: the video alone (auto)",
    )
    parser.add_argument("--pose_model", metavar="FILE", help="MediaPipe's model bundle, a .task file")


def request_of(arguments: argparse.Namespace) -> Request:
    """The request of parsed arguments.

    Raises:
      UserError: Arguments that contradict each other.
    """
    if arguments.pose_model and arguments.pose == "none":
        raise UserError("--pose_model: goes with a pose estimator, got --pose=none: leave one of them out")
    return Request(
        person=getattr(arguments, "person", None),
        overlap=arguments.overlap or 0.0,
        pose=arguments.pose_model or arguments.pose,
        skeleton_layout=getattr(arguments, "skeleton_layout", "coco17"),
    )


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, got {text!r}")
    return value


def _person(text: str) -> int | str:
    if text == ALL:
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 or all, got {text!r}")
    return int(text)
