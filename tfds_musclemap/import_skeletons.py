"""Imports a pose estimator's results into a raw data set.

python -m tfds_musclemap.import_skeletons --raw_dir=FOLDER --skeletons=RESULTS --skeleton_layout=halpe136
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from musclemap_jax.arguments import expand_home
from musclemap_jax.errors import exit_on_user_error
from tfds_musclemap.importing.skeletons import INPUT_LAYOUTS, MAX_PERSONS, import_skeletons


def _parser() -> argparse.ArgumentParser:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tfds_musclemap.import_skeletons", description=summary)
    parser.add_argument("--raw_dir", required=True, help="folder with annotations.csv and clips/")
    parser.add_argument("--skeletons", required=True, help="pose results: a folder, or one file for all clips")
    parser.add_argument("--skeleton_layout", required=True, choices=INPUT_LAYOUTS, help="joint order of the results")
    parser.add_argument("--first_frame", type=int, default=0, help="number of the first frame in the results (0)")
    parser.add_argument("--max_persons", type=int, default=MAX_PERSONS, help=f"persons kept per clip ({MAX_PERSONS})")
    parser.add_argument("--overwrite", action="store_true", help="replace existing skeletons")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status, 2 when the input is invalid."""
    arguments = _parser().parse_args(expand_home(argv))

    def run() -> None:
        report = import_skeletons(
            arguments.raw_dir,
            arguments.skeletons,
            arguments.skeleton_layout,
            first_frame=arguments.first_frame,
            max_persons=arguments.max_persons,
            overwrite=arguments.overwrite,
        )
        print("\n".join(report.lines()))

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
