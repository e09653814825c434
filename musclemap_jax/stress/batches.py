"""The batches of a stress test: each batch of a split as it is, then once for every condition.

So a clip is decoded once for all that changes its pixels, and the memory does not grow with the split.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np

from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.examples import RandomAccessClips, empty_batch, write_example
from musclemap_jax.data.modalities.fields import ClipRecord, text
from musclemap_jax.stress.perturbations.perturbation import Clip, Perturbation, clip_generator

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Condition:
    """A perturbation at one strength above 0."""

    perturbation: Perturbation
    strength: float


def conditions_of(perturbations: Sequence[Perturbation]) -> tuple[Condition, ...]:
    """All strengths of the perturbations, one perturbation after the other."""
    return tuple(Condition(each, strength) for each in perturbations for strength in each.strengths)


def stressed_batches(
    clean: Iterable[Batch],
    source: RandomAccessClips,
    spec: InputSpec,
    conditions: Sequence[Condition],
    seed: int,
    num_threads: int = 2,
) -> Iterator[Batch]:
    """Each batch of a split followed by its changes, one for each condition.

    They are batches of one long split: `clip_index` counts the split's clips as they are, then those of the first
    condition, and so on. Arrays that a condition does not change are the clean batch's own.

    Args:
      clean: This process's batches of the split (`pipeline.eval_batches`).
      source: Records of the split.
      spec: What the model takes.
      conditions: The conditions.
      seed: Seed of what is random.
      num_threads: Clips that are changed in parallel; 0 stands for 1.

    Raises:
      UserError: A record cannot be read.
    """
    num_done = 0
    with ThreadPoolExecutor(max(num_threads, 1)) as pool:
        for batch in clean:
            yield batch
            # Padding is at the end.
            positions = batch["clip_index"][batch["clip_valid"]].tolist()
            records = list(pool.map(source.__getitem__, positions))
            for number, condition in enumerate(conditions, 1):
                changed = changed_batch(batch, records, condition, spec, seed, pool)
                yield {**changed, "clip_index": batch["clip_index"] + np.int32(number * len(source))}
            num_done += len(positions)
            log.info("%d of %d clips, each as it is and in %d conditions", num_done, len(source), len(conditions))


def changed_batch(
    batch: Batch,
    records: Sequence[ClipRecord],
    condition: Condition,
    spec: InputSpec,
    seed: int,
    pool: ThreadPoolExecutor,
) -> Batch:
    """A batch under a condition; what the condition does not change is shared with the given batch.

    Args:
      batch: A batch of an evaluation.
      records: The records of its clips, without padding.
      condition: The condition.
      spec: What the model takes.
      seed: Seed of what is random.
      pool: Changes several clips at a time.
    """
    modalities = tuple(name for name in spec.modalities if name in condition.perturbation.modalities)
    if not modalities:
        return batch
    narrow = dataclasses.replace(spec, modalities=modalities)
    num_rows = len(batch["clip_valid"])
    changed = empty_batch(narrow, num_rows, num_rows - len(records), spec.views_per_clip)
    write = functools.partial(_write_clip, changed, batch, records, condition, narrow, seed)
    list(pool.map(write, range(len(records))))
    shared = {name: array for name, array in batch.items() if name not in changed}
    common = {name: batch[name] for name in ("muscles", "clip_valid", "clip_index")}
    return {**shared, **changed, **common}


def _write_clip(
    changed: Batch,
    batch: Batch,
    records: Sequence[ClipRecord],
    condition: Condition,
    spec: InputSpec,
    seed: int,
    row: int,
) -> None:
    """Writes the arrays of one clip under a condition; `spec` has only the modalities that change."""
    perturbation, record = condition.perturbation, records[row]
    rng = clip_generator(seed, perturbation.name, text(record["clip_id"]))
    if perturbation.of_record is not None:
        changed_record = perturbation.of_record(record, condition.strength, rng)
        write_example(changed, row, changed_record, int(batch["clip_index"][row]), spec)
    if perturbation.of_clip is not None:
        rows = cast(Mapping[str, np.ndarray], batch)
        clip: Clip = {name: rows[name][row] for name in spec.modalities}
        for name, values in perturbation.of_clip(clip, condition.strength, rng, spec).items():
            cast(dict[str, np.ndarray], changed)[name][row] = values
        if "skeleton" in clip:
            changed["skeleton_valid"][row] = (changed["skeleton"][row, ..., 2] > 0).any(axis=-1)
