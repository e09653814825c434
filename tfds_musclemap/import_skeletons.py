"""Brings results of a pose estimator into a raw data set: one AlphaPose file a clip, joints in one named order.

python -m tfds_musclemap.import_skeletons --raw_dir=FOLDER --skeletons=RESULTS --skeleton_layout=halpe136

``musclemap_jax/data/skeletons/pose_results.py`` lists the files and formats. Joints are converted by name where
the raw data set has skeletons of another layout already. Of each clip the persons with the largest sum of score times
area of the box are kept, each followed through the frames; frames in which nobody was found stay absent. The number of
frames is not looked at here: the builder compares it with the video's.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST, read_manifest, write_manifest
from musclemap_jax.data.skeletons.alphapose import SkeletonError, parse_detections, write_persons
from musclemap_jax.data.skeletons.person_linking import Detection, link_persons
from musclemap_jax.data.skeletons.pose_results import read_entries
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.skeleton_layouts import LAYOUTS, REDUCED, convert, get_layout

INPUT_LAYOUTS = (*LAYOUTS, *REDUCED)
"""Joint orders that results may have."""

MAX_PERSONS = 10
_NUM_NAMED = 5


@dataclasses.dataclass
class SkeletonReport:
    """What became of the clips.

    Attributes:
      written: clip ids that have a skeleton now.
      faults: by clip id, one line for each clip whose results are at fault; it gets no skeleton.
      absent: clip ids about which the results say nothing.
      layout: joint order of what was written.
    """

    written: list[str]
    faults: dict[str, str]
    absent: list[str]
    layout: str

    def lines(self) -> list[str]:
        """What to tell the user."""
        lines = [f"skeletons: {len(self.written)} clips, layout {self.layout}"]
        if self.absent:
            lines.append(f"without results: {len(self.absent)} clips, such as {', '.join(self.absent[:_NUM_NAMED])}")
        if self.faults:
            lines += [f"at fault: {len(self.faults)} clips", *list(self.faults.values())[:_NUM_NAMED]]
        return lines


def stored_layout(layout: str) -> str:
    """The layout that results of an input layout have once read: itself, or what it is reduced to.

    Raises:
      UserError: an unknown layout.
    """
    return REDUCED[layout][0] if layout in REDUCED else get_layout(layout).name


def convert_persons(
    detections: Sequence[Detection], source_layout: str, target_layout: str, max_persons: int = MAX_PERSONS
) -> list[list[Detection]]:
    """Links detections to persons, keeps the most prominent ones, and converts their joints by name.

    Args:
      detections: of one clip, joints in ``source_layout``.
      source_layout: a name of LAYOUTS.
      target_layout: a name of LAYOUTS.
      max_persons: P at most.
    """
    return [
        [detection._replace(joints=convert(detection.joints, source_layout, target_layout)) for detection in person]
        for person in link_persons(list(detections))[:max_persons]
    ]


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
    """Writes the clips' skeleton files below a raw data set's folder.

    Args:
      source: folder of results, or one file for all clips.
      layout: joint order of the results, one of INPUT_LAYOUTS.
      root: the raw data set's folder.
      clip_ids: clips to write; a skeleton that is there is replaced.
      target_layout: joint order to write; by default that of the results.
      first_frame: number that the results give the first frame: 1 for images that FFmpeg wrote.
      max_persons: P at most.

    Raises:
      UserError: an unknown layout, no such source, or nothing in it about any of the clips.
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
                raise SkeletonError(f"{clip_id}: expected frames from {first_frame} on, got an earlier one")
            persons = convert_persons(detections, source_layout, report.layout, max_persons)
        except SkeletonError as error:
            report.faults[clip_id] = " ".join(str(error).split())
            continue
        path = raw_dataset.skeleton_path(root, clip_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.part")
        write_persons(temporary, persons)
        temporary.replace(path)
        report.written.append(clip_id)
    told = {*report.written, *report.faults}
    report.absent = [clip_id for clip_id in clip_ids if clip_id not in told]
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
    """Gives the clips of a raw data set that have no skeleton one from results, and names the layout in its manifest.

    Args:
      root: the raw data set's folder.
      source: see ``convert_skeletons``.
      layout: see ``convert_skeletons``.
      first_frame: see ``convert_skeletons``.
      max_persons: see ``convert_skeletons``.
      overwrite: whether skeletons that are there are replaced.

    Raises:
      UserError: as ``convert_skeletons``; faults of the raw data set.
    """
    root = Path(root)
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
        target_layout=target,
        first_frame=first_frame,
        max_persons=max_persons,
    )
    set_layout(root, report.layout)
    return report


def clips_without_skeleton(root: Path, clip_ids: Sequence[str]) -> list[str]:
    """Those of the clips that have no skeleton file."""
    return [clip_id for clip_id in clip_ids if not raw_dataset.skeleton_path(root, clip_id).exists()]


def raw_dataset_layout(root: Path, clip_ids: Sequence[str]) -> str | None:
    """The layout that a raw data set's skeletons have, by its manifest; None where it has none yet.

    Raises:
      UserError: there are skeletons whose layout the manifest does not name.
    """
    layout = read_manifest(root).skeleton_layout
    if layout is None and len(clips_without_skeleton(root, clip_ids)) < len(clip_ids):
        raise UserError(
            f"{root}: some clips have skeletons and {MANIFEST} does not name their layout, so others cannot be added: "
            f'write {{"skeleton_layout": NAME}} there, with one of {", ".join(LAYOUTS)}'
        )
    return layout


def set_layout(root: Path, layout: str) -> None:
    """Names the layout of a raw data set's skeletons in its manifest."""
    write_manifest(root, dataclasses.replace(read_manifest(root), skeleton_layout=layout))


def _parser() -> argparse.ArgumentParser:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tfds_musclemap.import_skeletons", description=summary)
    parser.add_argument("--raw_dir", required=True, help="folder with annotations.csv and clips/")
    parser.add_argument("--skeletons", required=True, help="pose results: a folder, or one file for all clips")
    parser.add_argument("--skeleton_layout", required=True, choices=INPUT_LAYOUTS, help="joint order of the results")
    parser.add_argument("--first_frame", type=int, default=0, help="number of the first frame in the results (0)")
    parser.add_argument("--max_persons", type=int, default=MAX_PERSONS, help=f"persons kept a clip ({MAX_PERSONS})")
    parser.add_argument("--overwrite", action="store_true", help="replace skeletons that are there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status, 2 when the input is at fault."""
    arguments = _parser().parse_args(argv)

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
