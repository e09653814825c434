"""Runs a pose estimator on the clips of a raw data set that have no skeleton.

python -m tfds_musclemap.extract_skeletons --raw_dir=FOLDER

The estimator is MediaPipe with its installed model by default (docs/importing.md), or any script that speaks the
protocol of ``importing/pose_process.py``, in this environment or in one of its own. An interrupted run resumes with the
clips that are left. Clips that failed are listed in ``skeletons_failed.csv`` and retried by the next run.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.pose.mediapipe_pose import installed_model
from musclemap_jax.skeleton_layouts import LAYOUTS
from tfds_musclemap.importing.skeleton_conversion import MAX_PERSONS
from tfds_musclemap.importing.skeleton_extraction import DEFAULT_LAYOUT, FAILED, extract_skeletons

MEDIAPIPE = "mediapipe"
MEDIAPIPE_SCRIPT = Path(__file__).parent / "pose_estimators" / "mediapipe_pose.py"


def estimator_command(estimator: str, python: str, arguments: str = "", pose_model: str | None = None) -> list[str]:
    """Command line of an estimator.

    Args:
      estimator: ``mediapipe`` or the path of a Python script.
      python: The Python interpreter of its environment.
      arguments: The script's arguments, quoted as in a shell.
      pose_model: MediaPipe's ``.task`` file; by default the installed one.

    Raises:
      UserError: There is no such script, or MediaPipe or its model is not installed.
    """
    words = shlex.split(arguments)
    if estimator == MEDIAPIPE:
        model = installed_model(pose_model, needs_mediapipe=python == sys.executable)
        return [python, str(MEDIAPIPE_SCRIPT), f"--model={model}", *words]
    if not Path(estimator).is_file():
        raise UserError(f"--estimator: expected {MEDIAPIPE} or the path of a script, got {estimator!r}")
    if pose_model is not None:
        raise UserError("--pose_model: only for MediaPipe; pass another estimator's model in --estimator_args")
    return [python, estimator, *words]


def _parser() -> Parser:
    summary = __doc__.splitlines()[0]
    parser = Parser(prog="python -m tfds_musclemap.extract_skeletons", description=summary)
    parser.add_argument("--raw_dir", required=True, help="folder with annotations.csv and clips/")
    parser.add_argument("--pose_model", help="MediaPipe's pose_landmarker_*.task (the installed one)")
    parser.add_argument("--estimator", default=MEDIAPIPE, help="mediapipe, or a script that speaks the protocol")
    parser.add_argument("--estimator_python", default=sys.executable, help="Python of its environment (this one)")
    parser.add_argument("--estimator_args", default="", help="arguments for the script, such as '--num_persons=2'")
    parser.add_argument("--skeleton_layout", choices=LAYOUTS, help=f"joint order to write ({DEFAULT_LAYOUT})")
    parser.add_argument("--num_workers", type=int, default=os.cpu_count(), help="parallel estimators (all CPUs)")
    parser.add_argument("--max_persons", type=int, default=MAX_PERSONS, help=f"persons kept per clip ({MAX_PERSONS})")
    parser.add_argument("--timeout", type=float, default=600.0, help="time limit per clip in seconds (600)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0, 1 if some clips failed, 2 if the input is invalid."""

    def run() -> int:
        arguments = _parser().parse_args(expand_home(argv))
        if arguments.num_workers < 1 or arguments.max_persons < 1 or arguments.timeout <= 0:
            raise UserError("--num_workers, --max_persons and --timeout: expected numbers above 0")
        num_written, failed = extract_skeletons(
            arguments.raw_dir,
            estimator_command(
                arguments.estimator, arguments.estimator_python, arguments.estimator_args, arguments.pose_model
            ),
            layout=arguments.skeleton_layout,
            num_workers=arguments.num_workers,
            max_persons=arguments.max_persons,
            timeout_s=arguments.timeout,
        )
        print(f"skeletons: {num_written} clips written, {len(failed)} failed")
        if failed:
            clip_id = min(failed)
            print(f"{Path(arguments.raw_dir) / FAILED}: {clip_id}: {failed[clip_id]}", file=sys.stderr)
        return 1 if failed else 0

    with contextlib.suppress(KeyboardInterrupt):
        return exit_on_user_error(run)
    return 130


if __name__ == "__main__":
    sys.exit(main())
