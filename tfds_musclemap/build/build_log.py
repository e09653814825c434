"""Which clips a build stored and which it rejected, and the two lists of them that lie next to the data."""

from __future__ import annotations

import dataclasses

from etils import epath

from musclemap_jax.data.raw.raw_dataset import SEPARATOR, Clip
from musclemap_jax.errors import UserError
from musclemap_jax.storage.csv_files import read_csv, write_csv
from tfds_musclemap.build.sources import Sources, write_sources

REJECTED = "rejected.csv"
REJECTED_COLUMNS = ("clip_id", "split", "reason")
CLIPS = "clips.csv"
CLIPS_COLUMNS = ("clip_id", "split", "activity", "muscles", "num_frames", "fps", "height", "width")


@dataclasses.dataclass(frozen=True)
class StoredClip:
    """A row of ``clips.csv``: a clip's annotations, and the number, rate per second and size of its stored frames.

    The size is (height, width) in pixels; where no frames are stored, the one that joints refer to.
    """

    clip: Clip
    num_frames: int
    fps: float
    size: tuple[int, int]


@dataclasses.dataclass
class BuildLog:
    """The clips of a build, which it ends when too many are rejected.

    Attributes:
      num_clips: Number of clips of the raw data set, over all splits.
      max_rejected_fraction: Largest accepted fraction of rejected clips, 0 to 1.
      stored: The stored clips in the order of the records, split by split.
      rejected: (clip, reason) of the rejected ones in the same order.
      sources: The raw files of every clip, in the same order.
    """

    num_clips: int
    max_rejected_fraction: float
    stored: list[StoredClip] = dataclasses.field(default_factory=list)
    rejected: list[tuple[Clip, str]] = dataclasses.field(default_factory=list)
    sources: Sources = dataclasses.field(default_factory=dict)

    def reject(self, clip: Clip, reason: str) -> None:
        """Adds a rejected clip. Raises UserError, which ends the build, if they exceed the accepted fraction."""
        self.rejected.append((clip, reason))
        if len(self.rejected) > self.max_rejected_fraction * self.num_clips:
            named = "; ".join(reason for _, reason in self.rejected[:3])
            raise UserError(
                f"rejected {len(self.rejected)} of {self.num_clips} clips, more than max_rejected_fraction="
                f"{self.max_rejected_fraction:g} ({named}{'; ...' if len(self.rejected) > 3 else ''}): "
                f"fix or remove them, or raise max_rejected_fraction"
            )

    def check_not_empty(self) -> None:
        """Raises UserError if no clip was stored, whatever fraction may be rejected."""
        if not self.stored:
            _, reason = self.rejected[0]
            raise UserError(f"rejected all {len(self.rejected)} clips ({reason}; ...): fix or remove them")

    def write(self, folder: epath.Path, with_sources: bool = True) -> None:
        """Writes ``rejected.csv``, ``clips.csv`` and ``sources.csv``, each with a header even if it has no rows.

        The sources are left out of their list where they are not kept, as rendered ones.
        """
        rejected = ((clip.clip_id, clip.split, reason) for clip, reason in self.rejected)
        write_csv(folder / REJECTED, REJECTED_COLUMNS, rejected)
        write_csv(folder / CLIPS, CLIPS_COLUMNS, (_row(stored) for stored in self.stored))
        write_sources(folder, self.sources if with_sources else {})


def read_stored_clips(folder: epath.PathLike) -> dict[str, list[StoredClip]]:
    """``clips.csv`` of a prepared data set: the clips of each split in the order of its records."""
    splits: dict[str, list[StoredClip]] = {}
    for row in read_csv((epath.Path(folder) / CLIPS).read_text(encoding="utf-8")):
        muscles = tuple(int(index) for index in row["muscles"].split(SEPARATOR) if index)
        clip = Clip(row["clip_id"], row["split"], row["activity"], muscles)
        size = int(row["height"]), int(row["width"])
        splits.setdefault(clip.split, []).append(StoredClip(clip, int(row["num_frames"]), float(row["fps"]), size))
    return splits


def read_rejected(folder: epath.PathLike) -> list[tuple[str, str, str]]:
    """``rejected.csv`` of a prepared data set: (clip_id, split, reason)."""
    rows = read_csv((epath.Path(folder) / REJECTED).read_text(encoding="utf-8"))
    return [(row["clip_id"], row["split"], row["reason"]) for row in rows]


def _row(stored: StoredClip) -> tuple[object, ...]:
    clip = stored.clip
    muscles = SEPARATOR.join(map(str, clip.muscles))
    return clip.clip_id, clip.split, clip.activity, muscles, stored.num_frames, f"{stored.fps:.6g}", *stored.size
