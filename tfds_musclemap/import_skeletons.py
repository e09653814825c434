"""Imports a pose estimator's results into a raw data set.

python -m tfds_musclemap.import_skeletons --raw_dir=FOLDER --skeletons=RESULTS --skeleton_layout=halpe136
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import exit_on_user_error
from tfds_musclemap.importing.pose_units import PoseUnits, parse_image_size
from tfds_musclemap.importing.skeleton_conversion import INPUT_LAYOUTS, MAX_PERSONS
from tfds_musclemap.importing.skeletons import import_skeletons

UNIT_ARGUMENTS = ("first_frame", "fps", "frame_step", "image_size", "max_score", "force")
"""Names of the options that `add_unit_arguments` adds."""


def _parser() -> Parser:
    summary = __doc__.splitlines()[0]
    parser = Parser(prog="python -m tfds_musclemap.import_skeletons", description=summary)
    parser.add_argument("--raw_dir", required=True, help="folder with annotations.csv and clips/")
    parser.add_argument("--skeletons", required=True, help="pose results: a folder, or one file for all clips")
    parser.add_argument("--skeleton_layout", required=True, choices=INPUT_LAYOUTS, help="joint order of the results")
    add_unit_arguments(parser)
    parser.add_argument("--max_persons", type=int, default=MAX_PERSONS, help=f"persons kept per clip ({MAX_PERSONS})")
    parser.add_argument("--overwrite", action="store_true", help="replace existing skeletons")
    return parser


def add_unit_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what the numbers in pose results refer to, and the one that skips the check."""
    parser.add_argument("--first_frame", type=int, default=0, help="number of the first frame in the results (0)")
    parser.add_argument("--fps", type=float, help="frame rate of the images, where it is not the videos'")
    parser.add_argument("--frame_step", type=int, default=1, help="distance between frames with poses (1)")
    parser.add_argument("--image_size", help="WIDTHxHEIGHT of the images, where it is not the videos'; 1x1: normalised")
    parser.add_argument("--max_score", type=float, default=1.0, help="score of a sure joint: 100 for percentages (1)")
    parser.add_argument("--force", action="store_true", help="import results that do not seem to fit the videos")


def parsed_units(arguments: argparse.Namespace) -> PoseUnits:
    """What the numbers in the results refer to. Raises UserError for an invalid option."""
    size = parse_image_size(arguments.image_size) if arguments.image_size else None
    return PoseUnits(arguments.first_frame, arguments.fps, arguments.frame_step, size, arguments.max_score)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0, 1 if some clips have invalid results, 2 if nothing was imported."""

    def run() -> int:
        arguments = _parser().parse_args(expand_home(argv))
        report = import_skeletons(
            arguments.raw_dir,
            arguments.skeletons,
            arguments.skeleton_layout,
            units=parsed_units(arguments),
            max_persons=arguments.max_persons,
            overwrite=arguments.overwrite,
            force=arguments.force,
        )
        print("\n".join(report.lines()))
        return 1 if report.invalid else 0

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
