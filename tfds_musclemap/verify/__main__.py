"""Verifies a prepared data set: reads all of it, prints what it holds, and says what is wrong with it.

python -m tfds_musclemap.verify --data_dir=data

Writes dataset.json, modalities.png (one clip in four modalities, the paper's Fig. 1) and regions.png (clips and
activities per muscle region, its Fig. 2). Exit status: 0 nothing wrong, 1 faults, 2 no data to verify.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from musclemap_jax import taxonomy
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.eval.statistics import DataStatistics, data_statistics
from musclemap_jax.reporting.plots import data_statistics_figure, save_figure
from musclemap_jax.reporting.tables import markdown_table
from musclemap_jax.runtime.worker_pool import WorkerPool, num_cpus
from tfds_musclemap.build.build_log import read_rejected, read_stored_clips
from tfds_musclemap.source import ClipSource
from tfds_musclemap.verify.checks import Prepared, find_faults, find_notes
from tfds_musclemap.verify.clips import ClipFacts, examine_split
from tfds_musclemap.verify.plots import modalities_figure

FAULT_STATUS = 1
VERIFICATION = "verification"
"""Folder of the results, beside the records unless another is given."""

_MOST_SHOWN = 20


def verify(folder: str | os.PathLike, out: str | os.PathLike | None = None, num_workers: int = 1) -> dict[str, Any]:
    """Verifies one prepared data set.

    Args:
      folder: of the prepared data, ``<data_dir>/musclemap/<config>/<version>``.
      out: folder of the results; by default ``verification`` in that folder.
      num_workers: processes that read and decode; with 1 it is done in this process.

    Returns:
      What ``dataset.json`` holds; ``faults`` is empty if nothing is wrong.

    Raises:
      UserError: no prepared data there.
    """
    folder = Path(folder)
    prepared, info = _read(folder, num_workers)
    report = _summary(prepared) | {
        "data_set": info.full_name,
        "folder": os.fspath(folder),
        "release": prepared.metadata.get("release", ""),
        "made_of": prepared.metadata.get("made_of", {}),
        "faults": find_faults(prepared),
        "notes": find_notes(prepared),
    }
    out = Path(out) if out else folder / VERIFICATION
    out.mkdir(parents=True, exist_ok=True)
    (out / "dataset.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _write_figures(out, folder, prepared)
    return report


def find_data_sets(data_dir: str | os.PathLike, config: str | None = None) -> list[Path]:
    """Folders of the prepared data under a TFDS data_dir; the data_dir may be such a folder itself.

    Raises:
      UserError: there is none.
    """
    data_dir = Path(data_dir).expanduser()
    if (data_dir / "dataset_info.json").is_file():
        return [data_dir]
    folders = sorted(path.parent for path in data_dir.glob(f"musclemap/{config or '*'}/[0-9]*/dataset_info.json"))
    if not folders:
        wanted = f"musclemap/{config}" if config else "musclemap"
        raise UserError(f"{data_dir}: expected prepared data of {wanted}, found none: run tfds_musclemap.prepare")
    return folders


def _read(folder: Path, num_workers: int) -> tuple[Prepared, tfds.core.DatasetInfo]:
    info = tfds.builder_from_directory(folder).info
    sizes = {split: info.splits[split].num_examples for split in taxonomy.SPLITS if split in info.splits}
    try:
        listed, rejected = read_stored_clips(folder), read_rejected(folder)
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder}: expected clips.csv and rejected.csv beside the records, as the builder writes them "
            f"({type(error).__name__}: {error}): prepare the data again"
        ) from error
    clips: list[ClipFacts] = []
    total = sum(sizes.values())
    with WorkerPool(num_workers) as pool, tqdm.tqdm(total=total, desc="verifying", unit="clip", disable=None) as bar:
        for split, num_clips in sizes.items():
            if num_clips:
                clips += examine_split(folder, split, pool, bar.update)
    return Prepared(clips, sizes, listed, rejected, dict(info.metadata or {})), info


def _summary(prepared: Prepared) -> dict[str, Any]:
    """Counts and ranges of the whole and of each split, as JSON values."""
    splits = {}
    for split in prepared.split_sizes:
        clips = [clip for clip in prepared.clips if clip.split == split]
        if clips:
            splits[split] = _split_summary(clips) | {
                "rejected": sum(of_split == split for _, of_split, _ in prepared.rejected)
            }
    statistics = _statistics(prepared)
    return {
        "num_clips": len(prepared.clips),
        "num_activities": len({clip.activity for clip in prepared.clips}),
        "num_known_activities": statistics.num_activities["known"],
        "num_new_activities": statistics.num_activities["new"],
        "num_rejected": len(prepared.rejected),
        "rejected": [dict(zip(("clip_id", "split", "reason"), row, strict=True)) for row in prepared.rejected],
        "splits": splits,
        "regions": {
            region: {
                "clips": {split: of_split.clips_per_region[k] for split, of_split in statistics.splits.items()},
                "activities": {kind: counts[k] for kind, counts in statistics.activities_per_region.items()},
            }
            for k, region in enumerate(statistics.regions)
        },
    }


def _split_summary(clips: Sequence[ClipFacts]) -> dict[str, Any]:
    frames = [clip.num_frames for clip in clips]
    fps = [clip.fps for clip in clips]
    sizes = [clip.size for clip in clips if clip.size]
    with_skeleton = [clip for clip in clips if clip.skeleton_fraction is not None]
    frames_with = sum(clip.skeleton_fraction * clip.num_frames for clip in with_skeleton)
    return {
        "clips": len(clips),
        "activities": len({clip.activity for clip in clips}),
        "regions_per_clip": float(np.mean([len(clip.muscles) for clip in clips])),
        "frames": {"total": sum(frames), "min": min(frames), "median": float(np.median(frames)), "max": max(frames)},
        "fps": {"min": float(np.min(fps)), "median": float(np.median(fps)), "max": float(np.max(fps))},
        "resolutions": {f"{h}x{w}": sizes.count((h, w)) for h, w in sorted(set(sizes))},
        "frames_with_skeleton": frames_with / max(1, sum(frames)) if with_skeleton else None,
        "bytes": sum(clip.num_bytes for clip in clips),
    }


def _statistics(prepared: Prepared) -> DataStatistics:
    return data_statistics((clip.split, clip.activity, clip.muscles) for clip in prepared.clips if clip.muscles)


def _write_figures(out: Path, folder: Path, prepared: Prepared) -> None:
    save_figure(data_statistics_figure(_statistics(prepared)), out / "regions.png")
    sound = [clip for clip in prepared.clips if not clip.faults]
    if sound:
        # The clip with most persons' joints in sight among the first ones, in a split that has any.
        split = sound[0].split
        best = max(
            (clip for clip in sound[:_MOST_SHOWN] if clip.split == split), key=lambda c: c.skeleton_fraction or 0
        )
        place = [clip.clip_id for clip in prepared.clips if clip.split == split].index(best.clip_id)
        size = prepared.listed[split][place].size
        save_figure(modalities_figure(ClipSource(folder, split)[place], size), out / "modalities.png")


def table(report: dict[str, Any]) -> str:
    """The report for the console."""
    header = [
        "split",
        "clips",
        "activities",
        "regions a clip",
        "frames",
        "fps",
        "resolution",
        "skeleton",
        "rejected",
        "MB",
    ]
    rows = []
    for split, figures in report["splits"].items():
        frames, fps, resolutions = figures["frames"], figures["fps"], figures["resolutions"]
        common = max(resolutions, key=resolutions.get, default="")
        share = figures["frames_with_skeleton"]
        rows.append(
            [
                split,
                f"{figures['clips']:,}",
                str(figures["activities"]),
                f"{figures['regions_per_clip']:.2f}",
                f"{frames['min']}-{frames['max']}",
                f"{fps['min']:g}-{fps['max']:g}" if fps["min"] != fps["max"] else f"{fps['min']:g}",
                common + (f" and {len(resolutions) - 1} others" if len(resolutions) > 1 else ""),
                "" if share is None else f"{100 * share:.1f} %",
                str(figures["rejected"]),
                f"{figures['bytes'] / 1e6:.1f}",
            ]
        )
    lines = [
        f"{report['data_set']}: {report['num_clips']:,} clips of {report['num_activities']} activities "
        f"({report['num_known_activities']} known, {report['num_new_activities']} new), "
        f"{report['num_rejected']} rejected{', release ' + report['release'] if report['release'] else ''}",
        "",
        markdown_table(header, rows),
    ]
    for kind in ("notes", "faults"):
        lines += [f"{kind[:-1]}: {line}" for line in report[kind][:_MOST_SHOWN]]
        if len(report[kind]) > _MOST_SHOWN:
            lines.append(f"{kind[:-1]}: and {len(report[kind]) - _MOST_SHOWN} more, see dataset.json")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tfds_musclemap.verify", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data_dir", required=True, help="folder of the TFDS data sets, or that of one prepared data set"
    )
    parser.add_argument("--config", help="builder config (default: all that are there)")
    parser.add_argument("--out", help="folder of the results (default: verification/ beside the records)")
    parser.add_argument("--num_workers", type=int, default=num_cpus(), help="processes (default: all CPUs)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = _parser().parse_args(argv)

    def run() -> int:
        status = 0
        folders = find_data_sets(arguments.data_dir, arguments.config)
        for folder in folders:
            out = Path(arguments.out) if arguments.out else None
            if out and len(folders) > 1:
                out = out / folder.parent.name / folder.name
            report = verify(folder, out, max(1, arguments.num_workers))
            print(table(report))
            verdict = f"{len(report['faults'])} faults" if report["faults"] else "nothing wrong"
            print(f"{verdict}; {out or folder / VERIFICATION}\n")
            status = FAULT_STATUS if report["faults"] else status
        return status

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
