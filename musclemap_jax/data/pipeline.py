"""Batches from the prepared data: Grain with random access, a pure function of the batch's number.

Training reads one endless stream that all processes share. Place i of it is clip `order(epoch)[i mod n]` of epoch
`i // n`, with a new order in each epoch. (With repeated augmentation, each clip fills several places in a row, every
time with another augmentation, and an epoch has as many times more places.) A global batch that begins at place i holds
places i to i + G - 1, of which process p takes the p-th of equal parts. So, over all processes, each clip is seen
exactly once per epoch for any n and batch size (a batch may hold the end of one epoch and the start of the next), and
the stream does not depend on the number of processes, threads or workers. Its state is the first place of the next
batch: on any number of processes, the stream resumes with exactly the clips that would have come next, in the same
batches if the global batch size is the same. A clip's augmentation is drawn from (seed, epoch, position in the split),
and from the number of the sample for all but its first.

A record that cannot be decoded ends the run with an error that names the clip; no clip is replaced by another. Clips
that cannot be read were left out when the data was prepared.

Video stays uint8; the model converts it on the device.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grain
import numpy as np
from absl import flags

from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.examples import RandomAccessClips, empty_batch, write_example
from musclemap_jax.data.modalities import batch_modalities
from musclemap_jax.data.worker_process import one_opencv_thread, prepare_worker
from musclemap_jax.errors import UserError

_ENDLESS = 2**40
"""Number of batches of the training stream, since Grain needs a length."""

_ORDER_STREAM, _CLIP_STREAM = 1, 2
"""First word of the generators' seeds; it keeps orders and clips apart, since numpy pads seeds with zeros."""


def train_iterator(
    source: RandomAccessClips,
    spec: InputSpec,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    num_workers: int = 0,
    samples_per_clip: int = 1,
) -> TrainIterator:
    """Endless augmented batches of one process.

    Memory: without workers, at most `num_threads + 1` batches are ready or being made, in addition to the one in use;
    each worker process holds one more than that. A batch of video is batch_size * T * H * W * 3 bytes.

    Args:
      source: Records of the split.
      spec: What the model takes.
      batch_size: B, clips per process and batch.
      seed: Seed of the orders and of the augmentation.
      process_index: Index of this process; process p takes the p-th part of each global batch.
      process_count: Number of processes that share the stream.
      num_threads: Batches made in parallel in a process; 0 makes each when it is asked for.
      num_workers: Processes that make batches; 0 makes them in this one. They take seconds to start.
      samples_per_clip: Places in a row that a clip fills.

    Returns:
      An iterator that Grain's and Orbax's checkpoint handlers can save.

    Raises:
      UserError: Unknown modality, no clips, or invalid sizes; from the iterator, a record that cannot be read.
    """
    batch_modalities(spec)
    shard = _BatchShard(batch_size, process_index, process_count)
    if len(source) == 0:
        raise UserError("training split: expected at least one clip, got none: prepare the data again")
    if seed < 0 or num_threads < 0 or num_workers < 0:
        raise UserError(f"input: seed, threads and workers must be 0 or more, got {seed}, {num_threads}, {num_workers}")
    if samples_per_clip < 1:
        raise UserError(f"samples_per_clip: expected at least 1, got {samples_per_clip}")
    return TrainIterator(
        _TrainLoader(source, spec, seed, batch_size, samples_per_clip), shard, num_threads, num_workers
    )


class TrainIterator(grain.DatasetIterator):
    """Yields batches endlessly; its state is the place in the stream that all processes share."""

    def __init__(self, load: _TrainLoader, shard: _BatchShard, num_threads: int, num_workers: int):
        super().__init__()
        self._load = load
        self._shard = shard
        self._num_threads = num_threads
        self._num_workers = num_workers
        self._place = 0  # place of the next global batch's first clip
        self._running: list[grain.DatasetIterator] = []  # none or one
        # Threads and workers that still run when the interpreter exits print errors and leak shared memory.
        self._end = weakref.finalize(self, _close_all, self._running)

    def __next__(self) -> Batch:
        self._assert_not_closed()
        self.start_prefetch()
        try:
            batch = next(self._running[0])
        except BaseException:
            # Grain has moved on: start again, so that the next call gets this batch and not the one after it.
            _close_all(self._running)
            raise
        self._place += self._shard.global_batch_size
        return batch

    def start_prefetch(self) -> None:
        """Starts making batches before the first one is asked for."""
        if not self._running:
            iterable = _batches(self._load, self._shard, self._place, _ENDLESS, self._num_threads)
            if self._num_workers:
                if not flags.FLAGS.is_parsed():  # Grain's workers read flags, which notebooks and tests do not parse
                    flags.FLAGS.mark_as_parsed()
                iterable = iterable.mp_prefetch(
                    grain.MultiprocessingOptions(self._num_workers), worker_init_fn=prepare_worker
                )
            self._running.append(iter(iterable))
            self._running[0].start_prefetch()

    def get_state(self) -> dict[str, int]:
        """The state: small, JSON-serialisable, and the same on all processes for any number of threads and workers.

        Keys: `place`, the number of places before the next global batch over all epochs and processes
        (`place // (num_clips * samples_per_clip)` whole epochs); `num_clips` and `seed`, which the stream depends on.
        """
        return {"place": self._place, "num_clips": len(self._load.source), "seed": self._load.seed}

    def set_state(self, state: dict[str, int]) -> None:
        """Resumes with the clip that would have come next where the state was taken.

        Raises UserError if the state is of another split or seed, which makes resuming impossible.
        """
        own = self.get_state()
        for name in ("num_clips", "seed"):
            if state.get(name) != own[name]:
                raise UserError(
                    f"data iterator: the checkpoint has {name} {state.get(name)}, this run {own[name]}: "
                    "give the run the same data and seed, or start it in a new workdir"
                )
        place = state.get("place")
        if not isinstance(place, int) or place < 0:
            raise UserError(f"data iterator: the checkpoint is damaged: expected place, 0 or more, got {place}")
        _close_all(self._running)
        self._place = place

    def close(self) -> None:
        """Ends the threads and worker processes."""
        self._end()
        super().close()


def _close_all(iterators: list[grain.DatasetIterator]) -> None:
    while iterators:
        iterators.pop().close()


def num_eval_batches(num_clips: int, batch_size: int, process_count: int = 1) -> int:
    """Number of batches that every process yields; the last ones may be padded."""
    return -(-num_clips // (batch_size * process_count))


def eval_batches(
    source: RandomAccessClips,
    spec: InputSpec,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
) -> Iterator[Batch]:
    """One pass over a split, in order and without augmentation: fixed views and crops.

    Over all processes, every clip comes exactly once: the processes' parts of a global batch, one after the other, are
    the split's next clips. Every process yields `num_eval_batches` batches, padded with rows of zeros whose clip_valid
    is False. At most `num_threads + 1` batches are ready or being made. Arguments and errors are `train_iterator`'s.
    """
    batch_modalities(spec)
    shard = _BatchShard(batch_size, process_index, process_count)
    num_batches = num_eval_batches(len(source), batch_size, process_count)
    if not num_batches:
        return iter(())
    load = functools.partial(_load_eval, source, spec, batch_size)
    return iter(_batches(load, shard, 0, num_batches, num_threads))


@dataclass(frozen=True)
class _BatchShard:
    """The part of each global batch that one process takes."""

    batch_size: int
    process_index: int
    process_count: int

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch size: expected at least 1 clip per process, got {self.batch_size}")
        if not 0 <= self.process_index < self.process_count:
            raise UserError(f"process index: expected 0 to {self.process_count - 1}, got {self.process_index}")

    @property
    def global_batch_size(self) -> int:
        return self.batch_size * self.process_count


def _batches(
    load: Callable[[int], Batch], shard: _BatchShard, first_place: int, num_batches: int, num_threads: int
) -> grain.IterDataset:
    """The process's batches, made by `load` from the place of their first row.

    A batch is one element of Grain's data set, so that clips are written to their final place and never copied.
    """
    one_opencv_thread()
    step = shard.global_batch_size
    start = first_place + shard.process_index * shard.batch_size
    batches = grain.MapDataset.range(start, start + num_batches * step, step).map(load)
    return batches.to_iter_dataset(grain.ReadOptions(num_threads, num_threads + 1 if num_threads else 0))


@dataclass(frozen=True)
class _TrainLoader:
    """Makes a batch of consecutive places of the stream."""

    source: RandomAccessClips
    spec: InputSpec
    seed: int
    batch_size: int
    samples_per_clip: int

    def __call__(self, first_place: int) -> Batch:
        num_clips = len(self.source)
        batch = empty_batch(self.spec, self.batch_size)
        read, record = -1, {}
        for row in range(self.batch_size):
            clip, sample = divmod(int(first_place) + row, self.samples_per_clip)
            epoch, rank = divmod(clip, num_clips)
            position = int(_epoch_order(self.seed, epoch, num_clips)[rank])
            if clip != read:
                read, record = clip, self.source[position]
            # The first sample has the seed that a clip without others has.
            rng = np.random.default_rng([_CLIP_STREAM, self.seed, epoch, position, *([sample] if sample else [])])
            write_example(batch, row, record, position, self.spec, rng)
        return batch


def _load_eval(source: RandomAccessClips, spec: InputSpec, batch_size: int, first_place: int) -> Batch:
    positions = range(len(source))[int(first_place) :][:batch_size]
    batch = empty_batch(spec, batch_size, batch_size - len(positions), spec.views_per_clip)
    for row, position in enumerate(positions):
        write_example(batch, row, source[position], position, spec)
    return batch


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_clips: int) -> np.ndarray:
    return np.random.default_rng([_ORDER_STREAM, seed, epoch]).permutation(num_clips)
