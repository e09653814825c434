"""Renders a synthetic MuscleMap raw data set: ``python -m musclemap_jax.synthetic --out=DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.synthetic.activities.table import ACTIVITIES
from musclemap_jax.synthetic.generate import render
from musclemap_jax.synthetic.preview import write_contact_sheet
from musclemap_jax.synthetic.spec import DEFAULT_CLIPS, SyntheticSpec


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m musclemap_jax.synthetic", description=__doc__, allow_abbrev=False)
    default = SyntheticSpec()
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write, absent or empty")
    parser.add_argument(
        "--clips_per_activity",
        type=int,
        default=DEFAULT_CLIPS,
        help="clips per activity, distributed over its splits; by default "
        + ", ".join(f"{count} {split}" for split, count in DEFAULT_CLIPS),
    )
    parser.add_argument("--seed", type=int, default=default.seed, help="random seed (default %(default)s)")
    parser.add_argument("--size", type=int, default=default.size, help="height and width, pixels (default %(default)s)")
    parser.add_argument(
        "--activities",
        type=lambda names: tuple(name.strip() for name in names.split(",") if name.strip()),
        help=f"names, separated by commas (default: all {len(ACTIVITIES)})",
    )
    parser.add_argument(
        "--more_train_clips",
        type=int,
        default=default.more_train_clips,
        help="further training clips of each known activity (default %(default)s); all other clips stay the same",
    )
    parser.add_argument("--preview", metavar="PNG", help="also write a contact sheet of the raw data set")
    parser.add_argument("--num_workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--overwrite", action="store_true", help="delete an earlier raw data set in the folder")
    return parser.parse_args(expand_home(arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status, 2 when the input is invalid."""

    def body() -> None:
        args = _parse(arguments)
        if args.num_workers is not None and args.num_workers < 1:
            raise UserError(f"num_workers: expected at least 1, got {args.num_workers}: omit it for one per core")
        spec = SyntheticSpec(
            args.clips_per_activity,
            args.seed,
            args.size,
            activities=args.activities,
            more_train_clips=args.more_train_clips,
        )
        render(args.out, spec, args.num_workers, args.overwrite, progress=sys.stderr.isatty())
        clips = spec.clips()
        print(f"{args.out}: {len(clips)} clips of {len({activity.name for _, activity, _ in clips})} activities")
        if args.preview:
            write_contact_sheet(args.preview, args.out)
            print(f"{args.preview}: contact sheet")

    return exit_on_user_error(body)


if __name__ == "__main__":
    sys.exit(main())
