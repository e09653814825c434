"""Statistics of a data set: clips and activities per muscle region and split, as in the paper's Fig. 2."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from musclemap_jax.taxonomy import NEW_SPLITS, SPLITS, activity_key

KNOWN, NEW = "known", "new"


@dataclasses.dataclass(frozen=True)
class SplitStatistics:
    """Counts of one split.

    Attributes:
      num_clips: Number of clips.
      num_activities: Number of distinct activities.
      mean_regions: Mean number of muscle regions per clip.
      clips_per_region: Number of clips that show each region.
    """

    num_clips: int
    num_activities: int
    mean_regions: float
    clips_per_region: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class DataStatistics:
    """Counts of a data set.

    Attributes:
      regions: K names.
      splits: Split -> its counts, in the order of ``taxonomy.SPLITS``; splits without clips are absent.
      activities_per_region: "known" and "new" -> number of distinct activities that show each region.
      num_activities: "known" and "new" -> number of distinct activities.
    """

    regions: tuple[str, ...]
    splits: dict[str, SplitStatistics]
    activities_per_region: dict[str, tuple[int, ...]]
    num_activities: dict[str, int]


def data_statistics(clips: Iterable[tuple[str, str, Sequence[int]]], regions: Sequence[str]) -> DataStatistics:
    """Counts clips and activities.

    Args:
      clips: (split, activity, indices of the active muscle regions) of each clip; background clips have no index.
      regions: K names.

    Returns:
      The counts. An activity shows every region that any of its clips shows; its spellings are one activity.

    Raises:
      ValueError: A split is not in ``taxonomy.SPLITS``.
    """
    muscles_of_clips: dict[str, list[Sequence[int]]] = defaultdict(list)
    activities_of_split: dict[str, set[str]] = defaultdict(set)
    muscles_of_activity: dict[str, dict[str, set[int]]] = {KNOWN: defaultdict(set), NEW: defaultdict(set)}
    for split, activity, muscles in clips:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        muscles_of_clips[split].append(muscles)
        key = activity_key(activity)
        activities_of_split[split].add(key)
        muscles_of_activity[NEW if split in NEW_SPLITS else KNOWN][key].update(map(int, muscles))

    def count(sets_of_regions: Iterable[Iterable[int]]) -> tuple[int, ...]:
        counts = Counter(map(int, itertools.chain.from_iterable(sets_of_regions)))
        return tuple(counts[region] for region in range(len(regions)))

    return DataStatistics(
        regions=tuple(regions),
        splits={
            split: SplitStatistics(
                num_clips=len(of_clips),
                num_activities=len(activities_of_split[split]),
                mean_regions=sum(map(len, of_clips)) / len(of_clips),
                clips_per_region=count(of_clips),
            )
            for split in SPLITS
            if (of_clips := muscles_of_clips.get(split))
        },
        activities_per_region={kind: count(activities.values()) for kind, activities in muscles_of_activity.items()},
        num_activities={kind: len(activities) for kind, activities in muscles_of_activity.items()},
    )
