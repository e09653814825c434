"""Pose estimators' results as a raw data set's skeleton files: one AlphaPose file per clip, in one joint order.

``musclemap_jax/data/skeletons/pose_results.py`` lists the accepted files and formats. Joints are converted by name if
the raw data set already has skeletons of another layout. Each clip keeps the persons with the largest sum over frames
of score times box area, followed through the frames; frames in which nobody was found stay absent.

Whether the results belong to the videos is judged over all clips (``data/skeletons/evidence.py``) before any file is
written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST, read_manifest, write_manifest
from musclemap_jax.data.skeletons.alphapose import SkeletonError, write_persons
from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.data.skeletons.pose_results import read_entries
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import LAYOUTS
from musclemap_jax.storage.files import UNFINISHED
from tfds_musclemap.importing.import_lock import import_lock
from tfds_musclemap.importing.pose_units import PoseUnits, video_facts
from tfds_musclemap.importing.skeleton_conversion import MAX_PERSONS, SkeletonConversion, stored_layout

_NUM_NAMED = 5


@dataclasses.dataclass
class SkeletonReport:
    """The result of a conversion.

    Attributes:
      written: Ids of the clips that now have a skeleton.
      invalid: Clip id -> one line that says why its results were refused; the clip gets no skeleton.
      absent: Ids of the clips without results.
      kept: Ids of the clips among these two that had a skeleton before, and have it still.
      layout: Joint order of the written skeletons.
      num_nan: Clip id -> the number of its joints that are NaN in the results, and so absent; clips with some only.
    """

    written: list[str]
    invalid: dict[str, str]
    absent: list[str]
    layout: str
    num_nan: dict[str, int] = dataclasses.field(default_factory=dict)
    kept: list[str] = dataclasses.field(default_factory=list)

    def lines(self) -> list[str]:
        """The report for the console."""
        lines = [f"skeletons: {len(self.written)} clips, layout {self.layout}"]
        if self.num_nan:
            lines.append(f"NaN, taken as absent: {sum(self.num_nan.values())} joints in {len(self.num_nan)} clips")
        if self.absent:
            lines.append(f"without results: {len(self.absent)} clips, such as {', '.join(self.absent[:_NUM_NAMED])}")
        if self.invalid:
            lines += [f"invalid results: {len(self.invalid)} clips", *list(self.invalid.values())[:_NUM_NAMED]]
        if self.kept:
            lines.append(
                f"still with their earlier skeletons: {len(self.kept)} of these clips, such as "
                f"{', '.join(self.kept[:_NUM_NAMED])}: delete those that are no longer right"
            )
        return lines


def write_skeleton(root: Path, clip_id: str, persons: Sequence[Sequence[Detection]]) -> None:
    """Writes a clip's skeleton file as a whole: a process that is killed leaves no partial one."""
    path = raw_dataset.skeleton_path(root, clip_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_persons(path, persons)


def convert_skeletons(
    source: Path,
    layout: str,
    root: Path,
    clip_ids: Sequence[str],
    *,
    all_clip_ids: Sequence[str] | None = None,
    target_layout: str | None = None,
    units: PoseUnits | None = None,
    max_persons: int = MAX_PERSONS,
    force: bool = False,
) -> SkeletonReport:
    """Writes clips' skeleton files to a raw data set's folder, all of them or none.

    Args:
      source: Folder of results, or one file for all clips.
      layout: Joint order of the results, one of INPUT_LAYOUTS.
      root: The raw data set's folder, with its videos and manifest.
      clip_ids: The clips to write; existing skeletons are replaced.
      all_clip_ids: All clips of the data set, where those are a part of them.
      target_layout: Joint order to write; by default the results'.
      units: What the numbers in the results refer to.
      max_persons: The largest P.
      force: Whether to write skeletons that do not seem to belong to the videos, judged over all of them.

    Raises:
      UserError: Unknown layout, max_persons below 1, no such source, no results for any of the clips, results of
        something else than the videos, or skeletons of the raw data set itself of which some cannot be converted.
    """
    units = units or PoseUnits()
    source_layout = stored_layout(layout)
    report = SkeletonReport([], {}, [], target_layout or source_layout)
    conversion = SkeletonConversion(source_layout, report.layout, units, max_persons)
    with _staged_skeletons(root) as stage:
        for clip_id, poses in read_entries(source, all_clip_ids or clip_ids, clip_ids):
            try:
                if isinstance(poses, SkeletonError):
                    raise poses
                persons = conversion.persons(clip_id, poses, video_facts(root, clip_id))
            except SkeletonError as error:
                report.invalid[clip_id] = " ".join(str(error).split())
                continue
            write_skeleton(stage, clip_id, persons)
            report.written.append(clip_id)
        if report.invalid and _is_inside(source, root / raw_dataset.SKELETONS):
            raise UserError(
                f"{source}: skeletons in place are converted all or none, since a second conversion would read those "
                f"that are done; {len(report.invalid)} cannot be, such as {next(iter(report.invalid.values()))}: "
                "correct or delete them"
            )
        if not force:
            conversion.check_data_set(source)
    with_results = {*report.written, *report.invalid}
    report.absent = [clip_id for clip_id in clip_ids if clip_id not in with_results]
    without = set(clips_without_skeleton(root, clip_ids))
    report.kept = [clip_id for clip_id in (*report.absent, *report.invalid) if clip_id not in without]
    report.num_nan = {clip_id: count for clip_id, count in conversion.num_nan.items() if count}
    return report


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


@contextlib.contextmanager
def _staged_skeletons(root: Path) -> Generator[Path]:
    """A folder for skeleton files, which are moved to the raw data set if all goes well."""
    stage = root / f".{raw_dataset.SKELETONS}{UNFINISHED}"
    shutil.rmtree(stage, ignore_errors=True)
    try:
        yield stage
        for path in sorted((stage / raw_dataset.SKELETONS).rglob("*.json")):
            target = root / path.relative_to(stage)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def import_skeletons(
    root: str | Path,
    source: str | Path,
    layout: str,
    *,
    units: PoseUnits | None = None,
    max_persons: int = MAX_PERSONS,
    overwrite: bool = False,
    force: bool = False,
) -> SkeletonReport:
    """Adds skeletons to the clips of a raw data set that have none, and records their layout in its manifest.

    The arguments are those of ``convert_skeletons``; ``overwrite`` replaces existing skeletons too. The source may be
    the raw data set's own skeletons, which are then converted in place. Raises UserError as that function does, or for
    an invalid raw data set.
    """
    root = Path(root)
    with import_lock(root):
        clip_ids = [clip.clip_id for clip in raw_dataset.read_annotations(root)]
        wanted = clip_ids if overwrite else clips_without_skeleton(root, clip_ids)
        target = raw_dataset_layout(root, clip_ids) or stored_layout(layout)
        if not wanted:
            return SkeletonReport([], {}, [], target)
        report = convert_skeletons(
            Path(source),
            layout,
            root,
            wanted,
            all_clip_ids=clip_ids,
            target_layout=target,
            units=units,
            max_persons=max_persons,
            force=force,
        )
        if report.written:
            set_layout(root, report.layout)
        return report


def clips_without_skeleton(root: Path, clip_ids: Sequence[str]) -> list[str]:
    """The clips that have no skeleton file."""
    return [clip_id for clip_id in clip_ids if not raw_dataset.skeleton_path(root, clip_id).exists()]


def raw_dataset_layout(root: Path, clip_ids: Sequence[str]) -> str | None:
    """The layout of a raw data set's skeletons according to its manifest; None if there are no skeletons yet.

    Raises UserError if there are skeletons, but the manifest does not name their layout.
    """
    layout = read_manifest(root).skeleton_layout
    if layout is None and len(clips_without_skeleton(root, clip_ids)) < len(clip_ids):
        raise UserError(
            f"{root}: some clips have skeletons but {MANIFEST} does not name their layout, so none can be added: "
            f'write {{"skeleton_layout": NAME}} there, with one of {", ".join(LAYOUTS)}'
        )
    return layout


def set_layout(root: Path, layout: str) -> None:
    """Records the layout of a raw data set's skeletons in its manifest."""
    write_manifest(root, dataclasses.replace(read_manifest(root), skeleton_layout=layout))
