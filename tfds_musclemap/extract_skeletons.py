"""Fills in the skeletons that a raw data set lacks, by a pose estimator that runs in an environment of its own.

python -m tfds_musclemap.extract_skeletons --raw_dir=FOLDER --estimator_python=/path/to/venv/bin/python

The estimator is MediaPipe by default (docs/importing.md says how to set up its environment), or any program that speaks
the protocol of ``pose_process``. Each clip's file is put in place whole, so that an interrupted run goes on where it
was; clips that have a skeleton are left alone. A clip in which nobody is found gets an empty list, and is not tried
again. Clips that failed are listed in ``skeletons_failed.csv`` and tried again by the next run.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import queue
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import tqdm

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import LinkError, check_file, read_manifest
from musclemap_jax.data.skeletons.alphapose import write_persons
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.skeleton_layouts import LAYOUTS
from tfds_musclemap.import_skeletons import (
    MAX_PERSONS,
    clips_without_skeleton,
    convert_persons,
    raw_dataset_layout,
    set_layout,
)
from tfds_musclemap.importing.pose_process import EstimationError, PoseProcess

ESTIMATORS = {"mediapipe": Path(__file__).parent / "pose_estimators" / "mediapipe_pose.py"}
DEFAULT_LAYOUT = "coco17"
FAILED = "skeletons_failed.csv"
FAILED_COLUMNS = ("clip_id", "reason")


def extract_skeletons(
    root: str | Path,
    command: Sequence[str],
    *,
    layout: str | None = None,
    num_workers: int = 1,
    max_persons: int = MAX_PERSONS,
    timeout_s: float = 600.0,
) -> tuple[int, dict[str, str]]:
    """Writes a skeleton for each clip that has none.

    Args:
      root: the raw data set's folder.
      command: that starts the estimator.
      layout: joint order to write; by default the one of the skeletons that are there, or ``coco17``.
      num_workers: estimators that run side by side.
      max_persons: P at most.
      timeout_s: seconds that one clip may take.

    Returns:
      How many clips got a skeleton, and why each of the others got none.

    Raises:
      UserError: faults of the raw data set; an estimator that does not start; a layout that is not the one that the
        skeletons there have.
    """
    root = Path(root)
    clip_ids = [clip.clip_id for clip in raw_dataset.read_annotations(root)]
    layout = _choose_layout(root, clip_ids, layout)
    wanted = clips_without_skeleton(root, clip_ids)
    failed: dict[str, str] = {}
    if wanted:
        with _Estimators(command, timeout_s, min(num_workers, len(wanted))) as estimators:
            set_layout(root, layout)
            for clip_id, reason in estimators.run(root, wanted, layout, max_persons):
                if reason is not None:
                    failed[clip_id] = reason
    _write_failed(root, failed)
    return len(wanted) - len(failed), failed


class _Estimators:
    """Estimators that share the clips; a context manager that ends them."""

    def __init__(self, command: Sequence[str], timeout_s: float, num_workers: int):
        self._command, self._timeout_s = command, timeout_s
        # The first one is started here, so that a command that does not work is one error, not one a clip.
        self._idle: queue.SimpleQueue[PoseProcess | None] = queue.SimpleQueue()
        self._idle.put(PoseProcess(command, timeout_s))
        for _ in range(num_workers - 1):
            self._idle.put(None)
        self._threads = ThreadPoolExecutor(num_workers)

    def __enter__(self) -> _Estimators:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        while not self._idle.empty():
            process = self._idle.get()
            if process is not None:
                process.close()

    def run(
        self, root: Path, clip_ids: Sequence[str], layout: str, max_persons: int
    ) -> Iterator[tuple[str, str | None]]:
        """Yields each clip as it is done, with the reason if it failed."""
        futures = {
            self._threads.submit(self._extract, root, clip_id, layout, max_persons): clip_id for clip_id in clip_ids
        }
        with tqdm.tqdm(total=len(clip_ids), desc="skeletons", unit="clip", disable=None) as progress:
            for future in as_completed(futures):
                progress.update()
                yield futures[future], future.result()

    def _extract(self, root: Path, clip_id: str, layout: str, max_persons: int) -> str | None:
        """Writes one clip's skeleton, or returns why not."""
        video_path, path = raw_dataset.video_path(root, clip_id), raw_dataset.skeleton_path(root, clip_id)
        process = self._idle.get()
        try:
            check_file(root, video_path)
            process = process or PoseProcess(self._command, self._timeout_s)
            detections = process.estimate(video_path)
            persons = convert_persons(detections, process.greeting.layout, layout, max_persons)
        except (EstimationError, LinkError, UserError) as error:
            return str(error)
        finally:
            if process is not None and not process.is_alive:
                process.close()
                process = None
            self._idle.put(process)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.part")
        write_persons(temporary, persons)
        temporary.replace(path)
        return None


def _choose_layout(root: Path, clip_ids: Sequence[str], layout: str | None) -> str:
    named = read_manifest(root).skeleton_layout
    if layout and named and layout != named:
        raise UserError(f"{root}: its skeletons have layout {named}, got --skeleton_layout={layout}: leave it out")
    return layout or raw_dataset_layout(root, clip_ids) or DEFAULT_LAYOUT


def _write_failed(root: Path, failed: dict[str, str]) -> None:
    """Lists the clips that failed, in order; removes the list of an earlier run where there are none."""
    path = root / FAILED
    if not failed:
        path.unlink(missing_ok=True)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([FAILED_COLUMNS, *sorted(failed.items())])


def estimator_command(estimator: str, python: str, arguments: str = "") -> list[str]:
    """Command line of an estimator.

    Args:
      estimator: a name of ESTIMATORS or the path of a Python script.
      python: the interpreter of its environment.
      arguments: for the script, as a shell takes them.

    Raises:
      UserError: no such script.
    """
    script = ESTIMATORS.get(estimator, Path(estimator))
    if not script.is_file():
        raise UserError(f"--estimator: expected {', '.join(ESTIMATORS)} or the path of a script, got {estimator!r}")
    return [python, str(script), *shlex.split(arguments)]


def _parser() -> argparse.ArgumentParser:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tfds_musclemap.extract_skeletons", description=summary)
    parser.add_argument("--raw_dir", required=True, help="folder with annotations.csv and clips/")
    parser.add_argument("--estimator", default="mediapipe", help="mediapipe, or a script that speaks the protocol")
    parser.add_argument("--estimator_python", default=sys.executable, help="Python of the estimator's environment")
    parser.add_argument("--estimator_args", default="", help="arguments for the script, such as '--model=FILE'")
    parser.add_argument("--skeleton_layout", choices=LAYOUTS, help=f"joint order to write ({DEFAULT_LAYOUT})")
    parser.add_argument("--num_workers", type=int, default=os.cpu_count(), help="estimators at a time (all CPUs)")
    parser.add_argument("--max_persons", type=int, default=MAX_PERSONS, help=f"persons kept a clip ({MAX_PERSONS})")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that one clip may take (600)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0, 1 if some clips failed, 2 if the input is at fault."""
    arguments = _parser().parse_args(argv)

    def run() -> int:
        if arguments.num_workers < 1 or arguments.max_persons < 1 or arguments.timeout <= 0:
            raise UserError("--num_workers, --max_persons and --timeout: expected numbers above 0")
        num_written, failed = extract_skeletons(
            arguments.raw_dir,
            estimator_command(arguments.estimator, arguments.estimator_python, arguments.estimator_args),
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
