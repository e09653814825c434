"""The verification of a prepared data set as a report: ``dataset.json``, two plots, and a table for the console."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.eval.statistics import DataStatistics, data_statistics
from musclemap_jax.reporting.tables import markdown_table
from tfds_musclemap.verify.checks import find_faults, find_notes
from tfds_musclemap.verify.clips import ClipFacts
from tfds_musclemap.verify.plots import write_plots
from tfds_musclemap.verify.prepared import Prepared, read_prepared
from tfds_musclemap.verify.skeleton_evidence import NUM_PERSONS, skeleton_summary

VERIFICATION = "verification"
"""Default folder of the report, next to the records."""

_MAX_SHOWN = 20


def verify(folder: str | os.PathLike, out: str | os.PathLike | None = None, num_workers: int = 1) -> dict[str, Any]:
    """Verifies a prepared data set and writes the report.

    Args:
      folder: The data set's folder, ``<data_dir>/musclemap/<config>/<version>``.
      out: The report's folder; by default ``verification`` in the data set's folder.
      num_workers: Number of processes that read and decode; 1 uses this process.

    Returns:
      The content of ``dataset.json``; ``faults`` is empty if nothing is wrong.

    Raises:
      UserError: The folder contains no prepared data, or the report's folder cannot be created.
    """
    folder = Path(folder)
    out = Path(out) if out else folder / VERIFICATION
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: expected a folder for the report: {error.strerror}: choose another --out") from error
    prepared = read_prepared(folder, num_workers)
    readable = [clip for clip in prepared.clips if clip.activity]
    clips = [(clip.split, clip.activity, clip.muscles) for clip in readable]
    statistics = data_statistics(clips, prepared.metadata["regions"])
    report = _summary(prepared, statistics) | {
        "data_set": prepared.name,
        "folder": os.fspath(folder),
        "release": prepared.metadata.get("release", ""),
        "made_of": prepared.metadata.get("made_of", {}),
        "faults": find_faults(prepared),
        "notes": find_notes(prepared),
    }
    (out / "dataset.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    write_plots(out, folder, prepared, statistics)
    return report


def _summary(prepared: Prepared, statistics: DataStatistics) -> dict[str, Any]:
    """Counts and ranges of the data set and of each split, as JSON values."""
    splits = {}
    for split in prepared.split_sizes:
        clips = [clip for clip in prepared.clips if clip.split == split]
        if clips:
            num_rejected = sum(rejected_split == split for _, rejected_split, _ in prepared.rejected)
            splits[split] = _split_summary(clips) | {"rejected": num_rejected}
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
                "clips": {split: counts.clips_per_region[k] for split, counts in statistics.splits.items()},
                "activities": {kind: counts[k] for kind, counts in statistics.activities_per_region.items()},
            }
            for k, region in enumerate(statistics.regions)
        },
    }


def _split_summary(clips: Sequence[ClipFacts]) -> dict[str, Any]:
    frames = [clip.num_frames for clip in clips]
    fps = [clip.fps for clip in clips]
    sizes = [clip.size for clip in clips if clip.size]
    return {
        "clips": len(clips),
        "activities": len({clip.activity for clip in clips}),
        "regions_per_clip": float(np.mean([len(clip.muscles) for clip in clips])),
        "frames": {"total": sum(frames), "min": min(frames), "median": float(np.median(frames)), "max": max(frames)},
        "fps": {"min": float(np.min(fps)), "median": float(np.median(fps)), "max": float(np.max(fps))},
        "resolutions": {f"{h}x{w}": sizes.count((h, w)) for h, w in sorted(set(sizes))},
        **skeleton_summary(clips),
        "bytes": sum(clip.num_bytes for clip in clips),
    }


def table(report: dict[str, Any]) -> str:
    """The report for the console: a line of totals, one row per split, the first notes and faults."""
    header = ["split", "clips", "activities", "regions per clip", "frames", "fps", "resolution", "skeleton"]
    header += [f"first {NUM_PERSONS} persons", "rejected", "MB"]
    rows = []
    for split, summary in report["splits"].items():
        frames, fps, resolutions = summary["frames"], summary["fps"], summary["resolutions"]
        most_common = max(resolutions, key=resolutions.get, default="")
        fractions = [summary[name] for name in ("frames_with_skeleton", "frames_with_first_persons")]
        rows.append(
            [
                split,
                f"{summary['clips']:,}",
                str(summary["activities"]),
                f"{summary['regions_per_clip']:.2f}",
                f"{frames['min']}-{frames['max']}",
                f"{fps['min']:g}-{fps['max']:g}" if fps["min"] != fps["max"] else f"{fps['min']:g}",
                most_common + (f" and {len(resolutions) - 1} others" if len(resolutions) > 1 else ""),
                *("" if fraction is None else f"{100 * fraction:.1f} %" for fraction in fractions),
                str(summary["rejected"]),
                f"{summary['bytes'] / 1e6:.1f}",
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
        lines += [f"{kind[:-1]}: {line}" for line in report[kind][:_MAX_SHOWN]]
        if len(report[kind]) > _MAX_SHOWN:
            lines.append(f"{kind[:-1]}: and {len(report[kind]) - _MAX_SHOWN} more, see dataset.json")
    return "\n".join(lines)
