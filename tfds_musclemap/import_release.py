"""Turns the authors' release of MuscleMap into a raw data set: the folder that the builder reads.

python -m tfds_musclemap.import_release --release=RELEASE --out=RAW_DIR
python -m tfds_musclemap.import_release --videos=train_x.pkl --labels=train_y.pkl --split=train --video_root=VIDEOS \
    --out=RAW_DIR

Videos are linked, not copied: ``clips/<clip_id>.mp4`` is a symbolic link, and the manifest (``raw_dataset.json``)
names the one folder that such links may lead to; see ``musclemap_jax/data/raw/manifest.py``. The second form is given
once a split, in one command by repeating its three options or in several commands. All or nothing: the folder is made
beside its place and put there when it is whole; one that was imported before gets its new clips all at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.flow import FLOW, flow_paths
from musclemap_jax.data.raw.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from musclemap_jax.errors import UserError, exit_on_user_error
from tfds_musclemap.import_skeletons import INPUT_LAYOUTS, SkeletonReport, convert_skeletons, stored_layout
from tfds_musclemap.importing.release_clips import (
    FLOW_FOLDERS,
    SPLITS,
    VIDEO_FOLDERS,
    ReleasedClip,
    SplitLists,
    find_lists,
    is_present,
    our_split,
    read_activities,
    read_clips,
)

NAME = "MuscleMap"
"""The name that the manifest gives the data set: the verification then expects the paper's totals."""

_NUM_NAMED = 3


def import_release(
    lists: Sequence[SplitLists],
    video_root: str | Path,
    out: str | Path,
    *,
    activities: str | Path | None = None,
    skeletons: str | Path | None = None,
    skeleton_layout: str = "coco17",
    skip_missing: bool = False,
    flow: bool = False,
    name: str | None = None,
) -> list[str]:
    """Writes the raw data set, or adds splits to one that was written so.

    Args:
      lists: of the splits to import.
      video_root: folder of the videos.
      out: folder of the raw data set; absent, empty, or of an earlier import of other splits.
      activities: csv table for the clips whose paths do not name their activity.
      skeletons: file or folder of pose results, see ``import_skeletons``.
      skeleton_layout: joint order of those.
      skip_missing: whether clips whose video is not there are left out; otherwise they are an error.
      flow: whether the release's optical flow is linked too, from the two folders FLOW_FOLDERS beside ``video_root``;
        clips that it lacks are counted. The manifest then names the folder that holds all three.
      name: of the data set, for the manifest; by default that of the earlier import, or NAME. A part of MuscleMap that
        is not to be checked against the paper's totals may get another one.

    Returns:
      Lines that say what was done.

    Raises:
      UserError: any fault of the lists, paths, table or folders; nothing has been written then.
    """
    video_root, out = Path(video_root), Path(out)
    if not video_root.is_dir():
        raise UserError(f"{video_root}: expected the folder of the videos, found none: give it as --video_root")
    clips = read_clips(lists, video_root, read_activities(activities) if activities else None)
    kept, missing = _sort_out(clips, video_root, skip_missing)
    flow_folders = _flow_folders(video_root) if flow else ()
    link_root = video_root.resolve().parent if flow else video_root.resolve()
    earlier = _earlier_clips(out, link_root)
    annotations = [*earlier, *(clip.clip for clip in kept)]
    places = [f"{out / raw_dataset.ANNOTATIONS}, line {number}" for number in range(2, len(earlier) + 2)]
    raw_dataset.check_clips([*places, *(clip.place for clip in kept)], annotations)
    before = read_manifest(out)
    layout = before.skeleton_layout or (stored_layout(skeleton_layout) if skeletons else None)
    manifest = Manifest(name or before.name or NAME, str(link_root), layout)
    report = None
    with _staged(out) as stage:
        num_without_flow = _link(stage, kept, video_root, flow_folders)
        if skeletons:
            clip_ids = [clip.clip.clip_id for clip in kept]
            report = convert_skeletons(Path(skeletons), skeleton_layout, stage, clip_ids, target_layout=layout)
        write_manifest(stage, manifest)
        raw_dataset.write_annotations(stage, annotations)
        _install(stage, out, is_new=not earlier)
    return _summary(out, kept, missing, num_without_flow, report)


def default_video_root(folder: str | Path) -> Path:
    """The folder of videos in a release: ``musclemap_rescale``, ``musclemap_trimmed``, or the release itself."""
    folders = [Path(folder) / name for name in VIDEO_FOLDERS]
    return next((path for path in folders if path.is_dir()), Path(folder))


def _sort_out(
    clips: Sequence[ReleasedClip], video_root: Path, skip_missing: bool
) -> tuple[list[ReleasedClip], list[ReleasedClip]]:
    """The clips whose videos are there, and the others, which are an error unless they are to be left out."""
    kept: list[ReleasedClip] = []
    missing: list[ReleasedClip] = []
    for clip in clips:
        (kept if is_present(clip, video_root) else missing).append(clip)
    if missing and (not skip_missing or not kept):
        raise UserError(
            f"{len(missing)} of {len(clips)} videos are not in {video_root}, such as "
            f"{', '.join(clip.source.name for clip in missing[:_NUM_NAMED])} ({missing[0].place}): give the right "
            f"--video_root, or --skip_missing to leave them out"
        )
    return kept, missing


def _flow_folders(video_root: Path) -> tuple[Path, ...]:
    folders = tuple(video_root.resolve().parent / name for name in FLOW_FOLDERS)
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: expected the release's optical flow, found no such folder: leave out --flow")
    return folders


def _earlier_clips(out: Path, link_root: Path) -> list[raw_dataset.Clip]:
    """Clips that an earlier import wrote into the folder; none where the folder is absent or empty."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return []
    root = read_manifest(out).video_root if out.is_dir() else None
    if root is None or not (out / raw_dataset.ANNOTATIONS).is_file():
        raise UserError(
            f"{out}: expected no such folder, or one that import_release wrote, got another: give another --out"
        )
    if Path(root) != link_root:
        raise UserError(f"{out}: its links lead to {root}, those to add to {link_root}: give another --out")
    return raw_dataset.read_annotations(out)


@contextlib.contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder beside ``out``, removed in the end, to fill; what an import that was killed left in it is removed."""
    stage = out.parent / f".{out.name}.importing"
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
    """Makes the links; returns how many clips lack flow, where there are folders of it."""
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
    """Puts the staged folder in its place; the annotations come last, and what they do not name does not count."""
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


def _summary(
    out: Path,
    clips: Sequence[ReleasedClip],
    missing: Sequence[ReleasedClip],
    num_without_flow: int,
    report: SkeletonReport | None,
) -> list[str]:
    counts = Counter(clip.clip.split for clip in clips)
    lines = [f"{split}: {counts[split]} clips" for split in SPLITS.values() if counts[split]]
    if missing:
        names = ", ".join(clip.source.name for clip in missing[:_NUM_NAMED])
        lines.append(f"left out, no video: {len(missing)}, such as {names}")
    if num_without_flow:
        lines.append(f"without optical flow: {num_without_flow} clips")
    if report:
        lines += report.lines()
    return [*lines, f"raw data set: {out}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfds_musclemap.import_release", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", required=True, help="folder of the raw data set to write")
    parser.add_argument("--release", help="folder with the pickled lists of every split, found by their names")
    parser.add_argument("--videos", action="append", default=[], help="pickled list of paths; once a split")
    parser.add_argument("--labels", action="append", default=[], help="pickled list of muscle indices; once a split")
    parser.add_argument("--split", action="append", default=[], help=f"{', '.join(SPLITS)}; once a split")
    parser.add_argument("--video_root", help="folder of the videos (default: musclemap_rescale beside the lists)")
    parser.add_argument("--activities", help="csv table clip_id,activity for paths without AN_..._ST")
    parser.add_argument("--skeletons", help="pose results: a folder, or one file for all clips")
    parser.add_argument("--skeleton_layout", default="coco17", choices=INPUT_LAYOUTS, help="joint order of --skeletons")
    parser.add_argument("--flow", action="store_true", help="link the optical flow beside --video_root too")
    parser.add_argument("--name", help=f"name of the data set, in its manifest ({NAME})")
    parser.add_argument("--skip_missing", action="store_true", help="leave out clips whose video is not there")
    return parser


def _lists(arguments: argparse.Namespace) -> list[SplitLists]:
    counts = {len(arguments.videos), len(arguments.labels), len(arguments.split)}
    if arguments.release and counts == {0}:
        return find_lists(arguments.release)
    if arguments.release or len(counts) != 1 or counts == {0}:
        raise UserError("expected --release, or --videos, --labels and --split as often as each other")
    splits = [our_split(name) for name in arguments.split]
    if len(set(splits)) != len(splits):
        raise UserError(f"--split: expected each split once, got {', '.join(arguments.split)}")
    pairs = zip(splits, arguments.videos, arguments.labels, strict=True)
    return [SplitLists(split, Path(videos), Path(labels)) for split, videos, labels in pairs]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status, 2 when the input is at fault."""
    arguments = _parser().parse_args(argv)

    def run() -> None:
        lists = _lists(arguments)
        beside = Path(arguments.release) if arguments.release else lists[0].videos.parent
        lines = import_release(
            lists,
            arguments.video_root or default_video_root(beside),
            arguments.out,
            activities=arguments.activities,
            skeletons=arguments.skeletons,
            skeleton_layout=arguments.skeleton_layout,
            skip_missing=arguments.skip_missing,
            flow=arguments.flow,
            name=arguments.name,
        )
        print("\n".join(lines))

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
