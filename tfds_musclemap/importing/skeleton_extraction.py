"""Skeletons for the clips of a raw data set that have none, by pose estimators that run side by side.

Each clip's file is written as a whole, and existing skeletons are kept. A clip in which nobody is found gets an empty
list and is not tried again.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import tqdm

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import LinkError, check_file, read_manifest
from musclemap_jax.data.skeletons.evidence import clip_fault, evidence_of_detections
from musclemap_jax.errors import UserError
from musclemap_jax.storage.csv_files import write_csv
from tfds_musclemap.importing.import_lock import extraction_lock
from tfds_musclemap.importing.pose_process import EstimationError, PoseProcess
from tfds_musclemap.importing.pose_units import video_facts
from tfds_musclemap.importing.skeleton_conversion import MAX_PERSONS, convert_persons
from tfds_musclemap.importing.skeletons import clips_without_skeleton, raw_dataset_layout, set_layout, write_skeleton

DEFAULT_LAYOUT = "coco17"
FAILED = "skeletons_failed.csv"


def extract_skeletons(
    root: str | Path,
    command: Sequence[str],
    *,
    layout: str | None = None,
    num_workers: int = 1,
    max_persons: int = MAX_PERSONS,
    timeout_s: float = 600.0,
) -> tuple[int, dict[str, str]]:
    """Writes a skeleton for each clip of a raw data set that has none.

    The joint order is by default that of the existing skeletons, or ``coco17``. The command line starts an estimator,
    of which ``num_workers`` run side by side, each with a time limit per clip. A second process waits for the first.

    Returns:
      The number of clips that got a skeleton, and for each of the others the reason why not.

    Raises:
      UserError: An invalid raw data set, an estimator that does not start, or another layout than that of the existing
        skeletons.
    """
    root = Path(root)
    clip_ids = [clip.clip_id for clip in raw_dataset.read_annotations(root)]
    failed: dict[str, str] = {}
    with extraction_lock(root):
        layout = _choose_layout(root, clip_ids, layout)
        wanted = clips_without_skeleton(root, clip_ids)
        if wanted:
            with _Estimators(command, timeout_s, min(num_workers, len(wanted))) as estimators:
                set_layout(root, layout)
                for clip_id, reason in estimators.run(root, wanted, layout, max_persons):
                    if reason is not None:
                        failed[clip_id] = reason
        if failed:
            write_csv(root / FAILED, ("clip_id", "reason"), sorted(failed.items()))
        else:
            (root / FAILED).unlink(missing_ok=True)
    return len(wanted) - len(failed), failed


class _Estimators:
    """Estimator processes that share the clips; a context manager that ends them.

    Threads suffice: they wait for the estimators, which are the processes.
    """

    def __init__(self, command: Sequence[str], timeout_s: float, num_workers: int):
        self._command, self._timeout_s = command, timeout_s
        # The first one starts here, so that a command that does not work is one error, not one per clip.
        self._idle: queue.SimpleQueue[PoseProcess | None] = queue.SimpleQueue()
        for process in (PoseProcess(command, timeout_s), *[None] * (num_workers - 1)):
            self._idle.put(process)
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
        """Yields each clip when it is done, with the reason if it failed."""
        futures = {
            self._threads.submit(self._extract, root, clip_id, layout, max_persons): clip_id for clip_id in clip_ids
        }
        with tqdm.tqdm(total=len(clip_ids), desc="skeletons", unit="clip", disable=None) as progress:
            for future in as_completed(futures):
                progress.update()
                yield futures[future], future.result()

    def _extract(self, root: Path, clip_id: str, layout: str, max_persons: int) -> str | None:
        """Writes one clip's skeleton, or returns why it could not."""
        process = self._idle.get()
        try:
            video_path = raw_dataset.find_video(root, clip_id)
            check_file(root, video_path)
            process = process or PoseProcess(self._command, self._timeout_s)
            detections = process.estimate(video_path)
            video = video_facts(root, clip_id)
            evidence = evidence_of_detections(detections, process.layout, video.num_frames, video.fps, video.size)
            if fault := clip_fault(evidence):
                return f"the estimator's results cannot be of this video: {fault.reason}"
            persons = convert_persons(detections, process.layout, layout, max_persons)
        except (EstimationError, LinkError, UserError) as error:
            return str(error)
        finally:
            if process is not None and not process.is_alive:
                process.close()
                process = None
            self._idle.put(process)
        write_skeleton(root, clip_id, persons)
        return None


def _choose_layout(root: Path, clip_ids: Sequence[str], layout: str | None) -> str:
    existing = read_manifest(root).skeleton_layout
    if layout and existing and layout != existing:
        raise UserError(
            f"{root}: expected the layout of its skeletons, {existing}, got --skeleton_layout={layout}: leave it out"
        )
    return layout or raw_dataset_layout(root, clip_ids) or DEFAULT_LAYOUT
