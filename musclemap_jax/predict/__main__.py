"""Predicts which muscle regions are active in videos: a table, muscles.json, muscles.csv and a page for each.

    python -m musclemap_jax.predict squat.mp4
    python -m musclemap_jax.predict VIDEOS --run=runs/demo --out=answers --overlap=0.5
    python -m musclemap_jax.predict --camera=0

The results of `squat.mp4` are in DIR/squat/, which appears when it is complete. If a video is invalid, the error is one
line on stderr, the other videos are predicted, and the exit status is 2.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.arguments import Parser, expand_home, filled
from musclemap_jax.errors import USER_ERROR_STATUS, UserError
from musclemap_jax.explain.region_names import asked_regions
from musclemap_jax.predict.coach_arguments import add_coach_arguments, coach_of, coach_request
from musclemap_jax.predict.command import (
    add_model_arguments,
    add_person_arguments,
    request_of,
    run_command,
)
from musclemap_jax.predict.live.command import add_camera_arguments, check_camera_arguments, results_name, run_live
from musclemap_jax.predict.muscle_table import muscle_table
from musclemap_jax.predict.names import folder_names, printable, shown
from musclemap_jax.predict.output_folder import OutputError, check_replaceable, check_results
from musclemap_jax.predict.request import Request
from musclemap_jax.predict.unfinished import remove_abandoned
from musclemap_jax.predict.video_files import find_videos
from musclemap_jax.runtime.process_exit import exit_process
from musclemap_jax.storage.files import is_remote


def _parser() -> Parser:
    parser = Parser(prog="python -m musclemap_jax.predict", description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="videos, or folders of videos")
    add_model_arguments(parser)
    parser.add_argument(
        "--out", metavar="DIR", help="results of squat.mp4 go to DIR/squat (muscles; of a camera: none)"
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace results that exist")
    existing.add_argument("--skip_existing", action="store_true", help="leave out videos that have results")
    parser.add_argument("--annotate", action="store_true", help="also write the video with the answer drawn in")
    parser.add_argument(
        "--explain",
        action="append",
        type=_names,
        default=[],
        metavar="REGION",
        help="say why: a muscle region, several joined by commas, or top for the most probable ones",
    )
    parser.add_argument("--quiet", action="store_true", help="no table and no progress bar")
    add_camera_arguments(parser)
    group = add_person_arguments(parser)
    group.add_argument(
        "--skeleton", metavar="PATH", type=filled, help="pose results: a file or folder (default: beside the video)"
    )
    add_coach_arguments(parser)
    group.add_argument("--install_pose", action="store_true", help="download the pose estimator's model once, and end")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 2 if some input is invalid and 130 if it is interrupted."""

    def body() -> int:
        args = _parser().parse_args(expand_home(arguments))
        if args.install_pose:
            return _install_pose()
        request = coach_request(args, request_of(args))
        check_camera_arguments(args)
        if args.camera is not None:
            return _answer_camera(args, request)
        if not args.videos:
            raise UserError("expected a video or a folder of videos: see --help")
        videos = find_videos(args.videos)
        if args.skeleton and len(videos) > 1:
            raise UserError(
                f"--skeleton: is of one video, got {len(videos)}: put the results beside the videos, as VIDEO.json"
            )
        targets = _targets(videos, folder_names(videos), args)
        if not targets:
            return 0

        # Everything below imports JAX; the input is checked before that.
        from musclemap_jax.predict.model import load
        from musclemap_jax.predict.video_results import write_results
        from musclemap_jax.runtime.compilation_cache import use_compilation_cache

        use_compilation_cache()
        model = load(args.run)
        explain = asked_regions([name for names in args.explain for name in names], model.regions, "--explain")
        skeleton = Path(args.skeleton) if args.skeleton else None
        coach = coach_of(args, model, request)
        status = 0
        for video, target in targets.items():
            try:
                predictions = write_results(
                    model,
                    video,
                    target,
                    request,
                    skeleton,
                    annotate=args.annotate,
                    coach=coach,
                    explain=explain,
                    show_progress=not args.quiet,
                )
            except OutputError:
                raise
            except UserError as error:
                print(f"error: {printable(str(error))}", file=sys.stderr)
                status = USER_ERROR_STATUS
                continue
            if not args.quiet:
                width = shutil.get_terminal_size().columns
                print("\n\n".join(muscle_table(prediction, width) for prediction in predictions))
                print(f"results: {shown(target)}\n", flush=True)
        return status

    return run_command(body)


def _answer_camera(args: argparse.Namespace, request: Request) -> int:
    camera = Path(args.camera)
    target = _targets([camera], [results_name(args.camera)], args).get(camera) if args.out else None
    if args.out and target is None:  # results are there, with --skip_existing
        return 0
    run_live(args, request, target)
    return 0


def _names(text: str) -> list[str]:
    """Names of an argument, which has at least one."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names of muscle regions joined by commas, got {text!r}")
    return names


def _targets(videos: Sequence[Path], names: Sequence[str], args: argparse.Namespace) -> dict[Path, Path]:
    """{video: folder of its results}; refuses results that exist unless a flag says what to do."""
    if args.out == "":
        raise UserError("--out: expected a folder, got an empty name")
    folder = Path(args.out or "muscles")
    if is_remote(args.out or ""):
        raise UserError(
            f"--out: expected a local folder, got {args.out}: python -m musclemap_jax.predict.corpus writes there"
        )
    remove_abandoned(folder)
    targets = {video: folder / name for video, name in zip(videos, names, strict=True)}
    existing = {video: target for video, target in targets.items() if os.path.lexists(target)}
    check = check_replaceable if args.overwrite else check_results
    for target in existing.values():
        check(target)
    if existing and not args.overwrite and not args.skip_existing:
        target = next(iter(existing.values()))
        raise UserError(
            f"{shown(target)}: holds results of an earlier run: pass --overwrite to replace them, --skip_existing to "
            "keep them, or another --out"
        )
    return {video: target for video, target in targets.items() if args.overwrite or video not in existing}


def _install_pose() -> int:
    from musclemap_jax.pose.bundle import install_bundle

    print(install_bundle())
    return 0


if __name__ == "__main__":
    exit_process(main())
