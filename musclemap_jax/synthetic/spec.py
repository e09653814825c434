"""The specification of a synthetic raw data set: activities, clips, size, seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.errors import UserError
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.activities.table import select
from musclemap_jax.synthetic.scene import clip_rng
from musclemap_jax.taxonomy import NEW_SPLITS, SPLITS

FORMAT = 1
"""Increment this whenever the same spec gives other clips."""

Pairs = tuple[tuple[str, int], ...]
DEFAULT_CLIPS: Pairs = (("train", 12), ("val_known", 2), ("test_known", 3), ("val_new", 4), ("test_new", 6))
_MAX_CLIPS = 10_000


@dataclasses.dataclass(frozen=True)
class SyntheticSpec:
    """A synthetic raw data set; equal specs give equal clips.

    Attributes:
      clips_per_activity: Number of clips of each activity: either one number, of which a known activity gives about
        3/20 to val_known, 4/20 to test_known and the rest to train, and a new one 2/5 to val_new and the rest to
        test_new; or a number for each of the five splits (a mapping, or pairs).
      seed: Random seed, at least 0.
      size: Height and width of the clips in pixels, even, 32 to 512.
      num_frames: Number of frames of the shortest and of the longest clip.
      fps: Frames per second.
      activities: Names of the activities (see activities/table.py); None for all.
      more_train_clips: Number of further training clips of each known activity; all other clips stay as they are.
    """

    clips_per_activity: int | Mapping[str, int] | Pairs = DEFAULT_CLIPS
    seed: int = 0
    size: int = 128
    num_frames: tuple[int, int] = (40, 56)
    fps: float = 15.0
    activities: tuple[str, ...] | None = None
    more_train_clips: int = 0

    def __post_init__(self):
        object.__setattr__(self, "clips_per_activity", _checked_clips(self.clips_per_activity))
        object.__setattr__(self, "num_frames", tuple(self.num_frames))
        if self.activities is not None:
            object.__setattr__(self, "activities", tuple(self.activities))
        if self.seed < 0:
            raise UserError(f"seed: expected at least 0, got {self.seed}")
        if not 32 <= self.size <= 512 or self.size % 2:
            raise UserError(f"size: expected an even number from 32 to 512 pixels, got {self.size}: use 128, say")
        if len(self.num_frames) != 2 or not 2 <= self.num_frames[0] <= self.num_frames[1] <= 1000:
            raise UserError(f"num_frames: expected a range within 2 to 1000, got {self.num_frames}: use (40, 56), say")
        if not 1 <= self.fps <= 120:
            raise UserError(f"fps: expected 1 to 120 frames per second, got {self.fps}: use 15, say")
        if not 0 <= self.more_train_clips <= _MAX_CLIPS:
            raise UserError(f"more_train_clips: expected 0 to {_MAX_CLIPS}, got {self.more_train_clips}")
        if not select(self.activities):
            raise UserError("activities: expected at least one name, got none: omit it for all activities")

    def to_json(self) -> str:
        """The spec as JSON, by which a finished raw data set is recognised."""
        fields = dataclasses.asdict(self)
        if not self.more_train_clips:  # data of before this field is recognised
            del fields["more_train_clips"]
        return json.dumps({"format": FORMAT} | fields, indent=1) + "\n"

    def clips(self) -> list[tuple[Clip, Activity, int]]:
        """All clips in the order of the annotations, each with its activity and number of frames."""
        counts = dict(self.clips_per_activity)  # ty: ignore[no-matching-overload]  # pairs by now
        low, high = self.num_frames
        result = []
        for activity in select(self.activities):
            splits = [split for split in SPLITS if (split in NEW_SPLITS) != activity.known]
            of_clips = [split for split in splits for _ in range(counts[split])]
            of_clips += ["train"] * (self.more_train_clips if activity.known else 0)
            for number, split in enumerate(of_clips):
                clip = Clip(f"{activity.slug}_{number:04d}", split, activity.name, activity.muscles)
                # Like everything else, a clip's length depends only on the seed and its id.
                length = int(clip_rng(self.seed, clip.clip_id, "length").integers(low, high + 1))
                result.append((clip, activity, length))
        if not result:
            raise UserError("clips_per_activity: expected at least one clip in a split of the activities, got none")
        return result


def _checked_clips(clips: int | Mapping[str, int] | Pairs) -> Pairs:
    if isinstance(clips, int):
        if not 3 <= clips <= _MAX_CLIPS:
            raise UserError(f"clips_per_activity: expected 3 to {_MAX_CLIPS}, so that every split has one, got {clips}")
        val, test, val_new = (max(1, round(fraction * clips)) for fraction in (0.15, 0.2, 0.4))
        known = {"train": clips - val - test, "val_known": val, "test_known": test}
        clips = known | {"val_new": val_new, "test_new": clips - val_new}
    counts = dict(clips)
    if set(counts) != set(SPLITS):
        raise UserError(
            f"clips_per_activity: expected a number for each of {', '.join(SPLITS)}, got {', '.join(counts) or 'none'}"
        )
    for split, count in counts.items():
        if not isinstance(count, int) or not 0 <= count <= _MAX_CLIPS:
            raise UserError(f"clips_per_activity, {split}: expected 0 to {_MAX_CLIPS} clips, got {count}")
    return tuple((split, counts[split]) for split in SPLITS)
