"""A release of MuscleMap turned into a raw data set whose clips are links to the release's videos.

``clips/<clip_id>.mp4`` is a symbolic link, and the manifest (``raw_dataset.json``) names the one folder that such links
may lead to; see ``musclemap_jax/data/raw/manifest.py``. An import succeeds as a whole or changes nothing: everything is
written to a staging folder first. A new raw data set is that folder, renamed; to an existing one the files are added
before its annotations, which decide what counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.flow import FLOW, flow_paths
from musclemap_jax.data.raw.manifest import MANIFEST, read_manifest, write_manifest
from musclemap_jax.errors import UserError
from musclemap_jax.storage.files import UNFINISHED
from tfds_musclemap.importing.import_lock import import_lock
from tfds_musclemap.importing.pose_units import PoseUnits
from tfds_musclemap.importing.release_clips import (
    FLOW_FOLDERS,
    MUSCLEMAP,
    ReleasedClip,
    SplitLists,
    is_present,
    read_activities,
    read_clips,
)
from tfds_musclemap.importing.skeleton_conversion import stored_layout
from tfds_musclemap.importing.skeletons import SkeletonReport, convert_skeletons

_NUM_NAMED = 3


@dataclasses.dataclass(frozen=True)
class ReleaseReport:
    """The result of an import.

    Attributes:
      imported: The clips that were written.
      missing: The clips that were left out because their video does not exist.
      num_without_flow: Imported clips without optical flow; 0 where flow was not requested.
      skeletons: The result for the skeletons; None where no pose results were given.
    """

    imported: Sequence[ReleasedClip]
    missing: Sequence[ReleasedClip]
    num_without_flow: int
    skeletons: SkeletonReport | None


def import_release(
    lists: Sequence[SplitLists],
    video_root: str | Path,
    out: str | Path,
    *,
    activities: str | Path | None = None,
    skeletons: str | Path | None = None,
    skeleton_layout: str = "coco17",
    units: PoseUnits | None = None,
    force: bool = False,
    skip_missing: bool = False,
    flow: bool = False,
    name: str | None = None,
) -> ReleaseReport:
    """Writes the raw data set, or adds splits to one that an earlier import wrote.

    Args:
      lists: The lists of the splits to import.
      video_root: The folder of the videos.
      out: The raw data set's folder: absent, empty, or written by an earlier import of other splits.
      activities: CSV table with the activities of clips whose paths do not contain them.
      skeletons: File or folder of pose results, as for ``convert_skeletons``.
      skeleton_layout: Joint order of the pose results.
      units: What the numbers in the pose results refer to.
      force: Whether to import pose results that do not seem to belong to the videos.
      skip_missing: Whether to leave out clips whose video does not exist; otherwise they are an error.
      flow: Whether to link the release's optical flow too, from the two folders FLOW_FOLDERS next to ``video_root``.
        Clips without it are counted. The manifest then names the folder that holds all three.
      name: The data set's name in the manifest; by default the earlier import's, or MUSCLEMAP. Give a part of MuscleMap
        another name, so that it is not checked against the paper's totals.

    Raises:
      UserError: The lists, paths, table or folders are invalid; nothing has been written.
    """
    video_root, out = Path(video_root), Path(out)
    if not video_root.is_dir():
        raise UserError(f"{video_root}: expected the folder of the videos, found no such folder: set --video_root")
    clips = read_clips(lists, video_root, read_activities(activities) if activities else None)
    present, missing = _split_by_presence(clips, video_root, skip_missing)
    flow_folders = _flow_folders(video_root) if flow else ()
    link_root = video_root.resolve().parent if flow else video_root.resolve()
    with import_lock(out):
        earlier = _earlier_clips(out, link_root)
        annotations = [*earlier, *(clip.clip for clip in present)]
        locations = [f"{out / raw_dataset.ANNOTATIONS}, line {number}" for number in range(2, len(earlier) + 2)]
        raw_dataset.check_clips([*locations, *(clip.location for clip in present)], annotations)
        before = read_manifest(out)
        layout = before.skeleton_layout or (stored_layout(skeleton_layout) if skeletons else None)
        manifest = dataclasses.replace(
            before, name=name or before.name or MUSCLEMAP, video_root=str(link_root), skeleton_layout=layout
        )
        report = None
        with _staging_folder(out) as stage:
            num_without_flow = _link(stage, present, video_root, flow_folders)
            write_manifest(
                stage, manifest
            )  # first: it allows the links to the videos, which the skeletons are compared with
            if skeletons:
                report = convert_skeletons(
                    Path(skeletons),
                    skeleton_layout,
                    stage,
                    [clip.clip.clip_id for clip in present],
                    all_clip_ids=[clip.clip_id for clip in annotations],
                    target_layout=layout,
                    units=units,
                    force=force,
                )
                if not report.written:
                    write_manifest(stage, dataclasses.replace(manifest, skeleton_layout=before.skeleton_layout))
            raw_dataset.write_annotations(stage, annotations)
            _install(stage, out, is_new=not earlier)
        return ReleaseReport(present, missing, num_without_flow, report)


def _split_by_presence(
    clips: Sequence[ReleasedClip], video_root: Path, skip_missing: bool
) -> tuple[list[ReleasedClip], list[ReleasedClip]]:
    """The clips whose videos exist, and the others, which are an error unless they may be skipped."""
    present: list[ReleasedClip] = []
    missing: list[ReleasedClip] = []
    for clip in clips:
        (present if is_present(clip, video_root) else missing).append(clip)
    if missing and (not skip_missing or not present):
        raise UserError(
            f"{len(missing)} of {len(clips)} videos are not in {video_root}, such as "
            f"{', '.join(clip.source.name for clip in missing[:_NUM_NAMED])} ({missing[0].location}): correct "
            f"--video_root, or pass --skip_missing to leave them out"
        )
    return present, missing


def _flow_folders(video_root: Path) -> tuple[Path, ...]:
    folders = tuple(video_root.resolve().parent / name for name in FLOW_FOLDERS)
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: expected the release's optical flow, found no such folder: leave out --flow")
    return folders


def _earlier_clips(out: Path, link_root: Path) -> list[raw_dataset.Clip]:
    """The clips that earlier imports wrote to the folder; none if it is absent or empty."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return []
    root = read_manifest(out).video_root if out.is_dir() else None
    if root is None or not (out / raw_dataset.ANNOTATIONS).is_file():
        raise UserError(f"{out}: exists and was not written by import_release: choose another --out")
    if Path(root) != link_root:
        raise UserError(f"{out}: its links lead to {root}, the new ones to {link_root}: choose another --out")
    return raw_dataset.read_annotations(out)


@contextlib.contextmanager
def _staging_folder(out: Path) -> Generator[Path]:
    """An empty folder next to ``out``, removed at the end; an import that was killed may have left one."""
    stage = out.parent / f".{out.name}{UNFINISHED}"
    try:
        if stage.exists():
            shutil.rmtree(stage)
        stage.mkdir(parents=True)
        yield stage
    except OSError as error:
        raise UserError(f"{error.filename or out}: could not be written: {error.strerror}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _link(stage: Path, clips: Sequence[ReleasedClip], video_root: Path, flow_folders: Sequence[Path]) -> int:
    """Creates the links; returns the number of clips without flow, 0 if there are no flow folders."""
    for folder in (raw_dataset.CLIPS, raw_dataset.SKELETONS):
        (stage / folder).mkdir()
    num_without_flow = 0
    for clip in clips:
        clip_id = clip.clip.clip_id
        links = {raw_dataset.video_path(stage, clip_id): video_root.resolve()}
        if not all(is_present(clip, folder) for folder in flow_folders):
            num_without_flow += 1
        elif flow_folders:
            links |= dict(zip(flow_paths(stage, clip_id), flow_folders, strict=True))
        for link, folder in links.items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(folder / clip.source)
    return num_without_flow


def _install(stage: Path, out: Path, is_new: bool) -> None:
    """Moves the staged files to ``out``, the annotations last: files that they do not name are ignored."""
    if is_new:
        stage.rename(out)
        return
    moved: list[Path] = []
    try:
        for folder in (raw_dataset.CLIPS, raw_dataset.SKELETONS, FLOW):
            for path in sorted((stage / folder).rglob("*")):
                if path.is_symlink() or path.is_file():
                    target = out / path.relative_to(stage)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    moved.append(target)
                    path.replace(target)
        for name in (MANIFEST, raw_dataset.ANNOTATIONS):
            os.replace(stage / name, out / name)
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise
