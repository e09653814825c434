"""Pose estimators' results as a raw data set's skeleton files: one AlphaPose file per clip, in one joint order.

``musclemap_jax/data/skeletons/pose_results.py`` lists the accepted files and formats. Joints are converted by name if
the raw data set already has skeletons of another layout. Each clip keeps the persons with the largest sum over frames
of score times box area, followed through the frames; frames in which nobody was found stay absent. The number of frames
is not checked here: the builder compares it with the video's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST, read_manifest, write_manifest
from musclemap_jax.data.skeletons.alphapose import SkeletonError, parse_detections, write_persons
from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.data.skeletons.person_linking import link_persons
from musclemap_jax.data.skeletons.pose_results import read_entries
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import EXTENDED_LAYOUTS, LAYOUTS, convert, get_layout

INPUT_LAYOUTS = (*LAYOUTS, *EXTENDED_LAYOUTS)
"""Joint orders that results may have."""

MAX_PERSONS = 10
_NUM_NAMED = 5


@dataclasses.dataclass
class SkeletonReport:
    """The result of a conversion.

    Attributes:
      written: Ids of the clips that now have a skeleton.
      invalid: Clip id -> one line that says why its results were refused; the clip gets no skeleton.
      absent: Ids of the clips without results.
      layout: Joint order of the written skeletons.
    """

    written: list[str]
    invalid: dict[str, str]
    absent: list[str]
    layout: str

    def lines(self) -> list[str]:
        """The report for the console."""
        lines = [f"skeletons: {len(self.written)} clips, layout {self.layout}"]
        if self.absent:
            lines.append(f"without results: {len(self.absent)} clips, such as {', '.join(self.absent[:_NUM_NAMED])}")
        if self.invalid:
            lines += [f"invalid results: {len(self.invalid)} clips", *list(self.invalid.values())[:_NUM_NAMED]]
        return lines


def stored_layout(layout: str) -> str:
    """The layout in which results of an input layout are stored: itself, or the one that it is reduced to.

    Raises UserError for an unknown layout.
    """
    return EXTENDED_LAYOUTS[layout][0] if layout in EXTENDED_LAYOUTS else get_layout(layout).name


def convert_persons(
    detections: Sequence[Detection], source_layout: str, target_layout: str, max_persons: int = MAX_PERSONS
) -> list[list[Detection]]:
    """Links one clip's detections to persons, keeps the most prominent ones, and converts their joints by name."""
    return [
        [detection._replace(joints=convert(detection.joints, source_layout, target_layout)) for detection in person]
        for person in link_persons(list(detections))[:max_persons]
    ]


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
    target_layout: str | None = None,
    first_frame: int = 0,
    max_persons: int = MAX_PERSONS,
) -> SkeletonReport:
    """Writes clips' skeleton files to a raw data set's folder.

    Args:
      source: Folder of results, or one file for all clips.
      layout: Joint order of the results, one of INPUT_LAYOUTS.
      root: The raw data set's folder.
      clip_ids: The clips to write; existing skeletons are replaced.
      target_layout: Joint order to write; by default the results'.
      first_frame: The number of the first frame in the results: 1 for images that FFmpeg wrote.
      max_persons: The largest P.

    Raises:
      UserError: Unknown layout, no such source, or no results for any of the clips.
    """
    source_layout = stored_layout(layout)
    report = SkeletonReport([], {}, [], target_layout or source_layout)
    for clip_id, entries in read_entries(source, clip_ids):
        try:
            if isinstance(entries, SkeletonError):
                raise entries
            detections = parse_detections(entries, source_layout, clip_id)
            detections = [detection._replace(frame=detection.frame - first_frame) for detection in detections]
            if any(detection.frame < 0 for detection in detections):
                raise SkeletonError(f"{clip_id}: expected frames numbered from {first_frame}, got an earlier one")
            persons = convert_persons(detections, source_layout, report.layout, max_persons)
        except SkeletonError as error:
            report.invalid[clip_id] = " ".join(str(error).split())
            continue
        write_skeleton(root, clip_id, persons)
        report.written.append(clip_id)
    with_results = {*report.written, *report.invalid}
    report.absent = [clip_id for clip_id in clip_ids if clip_id not in with_results]
    return report


def import_skeletons(
    root: str | Path,
    source: str | Path,
    layout: str,
    *,
    first_frame: int = 0,
    max_persons: int = MAX_PERSONS,
    overwrite: bool = False,
) -> SkeletonReport:
    """Adds skeletons to the clips of a raw data set that have none, and records their layout in its manifest.

    The arguments are those of ``convert_skeletons``; ``overwrite`` replaces existing skeletons too. Raises UserError as
    that function does, or for an invalid raw data set.
    """
    root = Path(root)
    clip_ids = [clip.clip_id for clip in raw_dataset.read_annotations(root)]
    wanted = clip_ids if overwrite else clips_without_skeleton(root, clip_ids)
    target = raw_dataset_layout(root, clip_ids) or stored_layout(layout)
    if not wanted:
        return SkeletonReport([], {}, [], target)
    report = convert_skeletons(
        Path(source), layout, root, wanted, target_layout=target, first_frame=first_frame, max_persons=max_persons
    )
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
