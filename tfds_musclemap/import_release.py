"""Turns the authors' release of MuscleMap into a raw data set, the folder that the builder reads.

python -m tfds_musclemap.import_release --release=RELEASE --out=RAW_DIR
python -m tfds_musclemap.import_release --videos=train_x.pkl --labels=train_y.pkl --split=train --video_root=VIDEOS \
    --out=RAW_DIR

Videos are linked, not copied. The second form names the lists of one split: repeat its three options for further
splits, or run the command once per split.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import UserError, exit_on_user_error
from tfds_musclemap.import_skeletons import UNIT_ARGUMENTS, add_unit_arguments, parsed_units
from tfds_musclemap.importing.release import ReleaseReport, import_release
from tfds_musclemap.importing.release_clips import (
    MUSCLEMAP,
    SPLITS,
    SplitLists,
    default_video_root,
    find_lists,
    our_split,
)
from tfds_musclemap.importing.skeleton_conversion import INPUT_LAYOUTS

_NUM_NAMED = 3


def _parser() -> Parser:
    parser = Parser(prog="python -m tfds_musclemap.import_release", description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder of the raw data set to write")
    parser.add_argument("--release", help="folder with the pickled lists of every split, found by their names")
    parser.add_argument("--videos", action="append", default=[], help="pickled list of paths; once per split")
    parser.add_argument("--labels", action="append", default=[], help="pickled list of muscle indices; once per split")
    parser.add_argument("--split", action="append", default=[], help=f"{', '.join(SPLITS)}; once per split")
    parser.add_argument("--video_root", help="folder of the videos (default: musclemap_rescale next to the lists)")
    parser.add_argument("--activities", help="CSV table clip_id,activity for paths without AN_..._ST")
    parser.add_argument("--skeletons", help="pose results: a folder, or one file for all clips")
    parser.add_argument("--skeleton_layout", default="coco17", choices=INPUT_LAYOUTS, help="joint order of --skeletons")
    add_unit_arguments(parser)
    parser.add_argument("--flow", action="store_true", help="also link the optical flow next to --video_root")
    parser.add_argument("--name", help=f"name of the data set in its manifest (default: {MUSCLEMAP})")
    parser.add_argument("--skip_missing", action="store_true", help="leave out clips whose video does not exist")
    return parser


def _lists(arguments: argparse.Namespace) -> list[SplitLists]:
    counts = {len(arguments.videos), len(arguments.labels), len(arguments.split)}
    if arguments.release and counts == {0}:
        return find_lists(arguments.release)
    if arguments.release or len(counts) != 1 or counts == {0}:
        raise UserError("expected either --release, or --videos, --labels and --split the same number of times")
    splits = [our_split(name) for name in arguments.split]
    if len(set(splits)) != len(splits):
        raise UserError(f"--split: expected each split once, got {', '.join(arguments.split)}")
    pairs = zip(splits, arguments.videos, arguments.labels, strict=True)
    return [SplitLists(split, Path(videos), Path(labels)) for split, videos, labels in pairs]


def _check_skeleton_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Raises UserError for options about pose results without any."""
    names = ("skeleton_layout", *UNIT_ARGUMENTS)
    given = [f"--{name}" for name in names if getattr(arguments, name) != parser.get_default(name)]
    if given and not arguments.skeletons:
        raise UserError(f"{', '.join(given)}: only with pose results: add --skeletons, or leave it out")


def _summary(report: ReleaseReport) -> list[str]:
    counts = Counter(clip.clip.split for clip in report.imported)
    lines = [f"{split}: {counts[split]} clips" for split in SPLITS.values() if counts[split]]
    if report.missing:
        names = ", ".join(clip.source.name for clip in report.missing[:_NUM_NAMED])
        lines.append(f"left out, no video: {len(report.missing)} clips, such as {names}")
    if report.num_without_flow:
        lines.append(f"without optical flow: {report.num_without_flow} clips")
    if report.skeletons:
        lines += report.skeletons.lines()
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0, 1 if some clips have invalid skeletons, 2 if nothing was imported."""

    def run() -> int:
        parser = _parser()
        arguments = parser.parse_args(expand_home(argv))
        _check_skeleton_options(parser, arguments)
        lists = _lists(arguments)
        folder = Path(arguments.release) if arguments.release else lists[0].videos.parent
        report = import_release(
            lists,
            arguments.video_root or default_video_root(folder),
            arguments.out,
            activities=arguments.activities,
            skeletons=arguments.skeletons,
            skeleton_layout=arguments.skeleton_layout,
            units=parsed_units(arguments),
            force=arguments.force,
            skip_missing=arguments.skip_missing,
            flow=arguments.flow,
            name=arguments.name,
        )
        print("\n".join([*_summary(report), f"raw data set: {arguments.out}"]))
        return 1 if report.skeletons and report.skeletons.invalid else 0

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
