"""Batches from the prepared data: Grain over random access, a pure function of the batch's number.

Training draws from one endless stream that all processes share. Place i of it is clip `order(epoch)[i mod n]` of
epoch `i // n`, with a new order each epoch; global batch b is places b G to (b + 1) G - 1, of which process p takes the
p-th of equal shares. So each clip is seen exactly once an epoch over all processes whatever n and the batch size (a
batch may hold the end of one epoch and the start of the next), the stream does not depend on the number of processes,
threads or workers, and its state is the number of the next batch. A clip's random changes are drawn from
(seed, epoch, position in the split).

A record that cannot be decoded ends the run with an error that names the clip: nothing is replaced. Faulty clips are
left out when the data is prepared.

Video stays uint8; the model converts it on the device.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import grain
import numpy as np
from absl import flags

from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.examples import RandomAccessClips, eval_example, padding_example, train_example
from musclemap_jax.errors import UserError

_ENDLESS = 2**40
"""Rows of the training stream; Grain wants a length."""

_ORDER_STREAM, _CLIP_STREAM = 1, 2
"""First word of the generators' seeds: keeps orders and clips apart (numpy pads seeds with zeros)."""


def train_iterator(
    source: RandomAccessClips,
    spec: InputSpec,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    num_workers: int = 0,
) -> TrainIterator:
    """Endless augmented batches of one process.

    Memory: without workers at most `num_threads + 1` batches are ready or under way, beside the one handed out; each
    worker process holds so many and one more. A batch of video is batch_size * T * H * W * 3 bytes.

    Args:
      source: records of the training split.
      spec: what the model takes.
      batch_size: B, clips a process and batch.
      seed: of the orders and of the random changes.
      process_index: of this process.
      process_count: processes that share the stream.
      num_threads: batches made in parallel in a process; 0 makes each when it is asked for.
      num_workers: processes that make batches; 0 makes them in this one. They take seconds to start.

    Returns:
      An iterator that Grain's and Orbax's checkpoint handlers save.

    Raises:
      UserError: no clips, or impossible sizes; from the iterator, a record that cannot be read.
    """
    _check_sizes(source, batch_size, process_index, process_count)
    if len(source) == 0:
        raise UserError("training split: expected at least one clip, got none: prepare the data again")
    if seed < 0 or num_threads < 0 or num_workers < 0:
        raise UserError(f"input: seed, threads and workers are 0 or more, got {seed}, {num_threads}, {num_workers}")
    stream = _Stream(len(source), seed, batch_size, process_index, process_count)
    return TrainIterator(stream, functools.partial(_load_train, source, spec, seed), num_threads, num_workers)


class TrainIterator(grain.DatasetIterator):
    """Yields Batch without end; its state is the number of the next batch and what the stream depends on."""

    def __init__(self, stream: _Stream, load: Callable[[tuple[int, int]], Batch], num_threads: int, num_workers: int):
        super().__init__()
        self._stream = stream
        self._load = load
        self._num_threads = num_threads
        self._num_workers = num_workers
        self._next_batch = 0
        self._running: list[grain.DatasetIterator] = []  # none or one
        # Threads and workers that still run when the interpreter goes down complain and leak shared memory.
        weakref.finalize(self, _close_all, self._running)

    def __next__(self) -> Batch:
        self._assert_not_closed()
        self.start_prefetch()
        try:
            batch = next(self._running[0])
        except BaseException:
            # Grain has moved on; whoever asks again gets this batch and not the one after it.
            _close_all(self._running)
            raise
        self._next_batch += 1
        return batch

    def start_prefetch(self) -> None:
        """Begins to make batches before the first one is asked for."""
        if not self._running:
            rows = _Rows(self._stream, self._next_batch)
            batches = grain.MapDataset.source(rows).map(self._load).batch(self._stream.batch_size)
            buffer = self._num_threads + 1 if self._num_threads else 0
            iterable = batches.to_iter_dataset(grain.ReadOptions(self._num_threads, buffer))
            if self._num_workers:
                if not flags.FLAGS.is_parsed():  # Grain's workers read flags, which a notebook or a test never parses
                    flags.FLAGS.mark_as_parsed()
                iterable = iterable.mp_prefetch(
                    grain.MultiprocessingOptions(self._num_workers), worker_init_fn=_one_opencv_thread
                )
            self._running.append(iter(iterable))
            self._running[0].start_prefetch()

    def get_state(self) -> dict[str, int]:
        """Small and JSON-able; the same for any number of processes, threads and workers."""
        return {
            "next_batch": self._next_batch,
            "num_clips": self._stream.num_clips,
            "seed": self._stream.seed,
            "global_batch_size": self._stream.global_batch_size,
        }

    def set_state(self, state: dict[str, int]) -> None:
        """Goes on as the iterator that gave this state would.

        Raises:
          UserError: the state is of another split, seed or global batch size, so that going on exactly is impossible.
        """
        for name, value in self.get_state().items():
            if name != "next_batch" and state.get(name) != value:
                raise UserError(
                    f"data iterator: the checkpoint has {name} {state.get(name)}, this run {value}: "
                    "give the run the same data, seed and global batch size, or start it in a new workdir"
                )
        _close_all(self._running)
        self._next_batch = int(state["next_batch"])

    def close(self) -> None:
        """Ends threads and worker processes."""
        _close_all(self._running)
        super().close()


def _close_all(iterators: list[grain.DatasetIterator]) -> None:
    while iterators:
        iterators.pop().close()


def num_eval_batches(num_clips: int, batch_size: int, process_count: int = 1) -> int:
    """Batches that every process yields: the last ones may be padded."""
    return -(-num_clips // (batch_size * process_count))


def eval_batches(
    source: RandomAccessClips,
    spec: InputSpec,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
) -> Iterator[Batch]:
    """One pass over a split, in order, without random changes: fixed views, centre crop.

    Every clip comes exactly once over all processes; every process yields `num_eval_batches` batches, padded with rows
    of zeros whose clip_valid is False. At most `num_threads + 1` batches are ready or under way.

    Args:
      source: records of the split.
      spec: what the model takes; its augmentation is not used.
      batch_size: B, rows a process and batch.
      process_index: of this process; it takes the p-th share of each global batch.
      process_count: processes that share the split.
      num_threads: batches made in parallel; 0 makes each when it is asked for.

    Raises:
      UserError: impossible sizes; from the iterator, a record that cannot be read.
    """
    _check_sizes(source, batch_size, process_index, process_count)
    global_batch_size = batch_size * process_count
    positions = np.arange(num_eval_batches(len(source), batch_size, process_count) * global_batch_size)
    own = positions.reshape(-1, process_count, batch_size)[:, process_index].ravel()
    if not own.size:
        return iter(())
    batches = grain.MapDataset.source(own).map(functools.partial(_load_eval, source, spec)).batch(batch_size)
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads, num_threads + 1 if num_threads else 0)))


@dataclass(frozen=True)
class _Stream:
    """The endless order of clips, and the share of one process in it."""

    num_clips: int
    seed: int
    batch_size: int
    process_index: int
    process_count: int

    @property
    def global_batch_size(self) -> int:
        return self.batch_size * self.process_count

    def clip(self, row: int) -> tuple[int, int]:
        """(epoch, position in the split) of the process's row, counted from its first batch."""
        batch, offset = divmod(row, self.batch_size)
        place = batch * self.global_batch_size + self.process_index * self.batch_size + offset
        epoch, rank = divmod(place, self.num_clips)
        return epoch, int(_epoch_order(self.seed, epoch, self.num_clips)[rank])


class _Rows:
    """Grain source: (epoch, position in the split) of the process's rows from some batch on."""

    def __init__(self, stream: _Stream, first_batch: int):
        self._stream = stream
        self._first_row = first_batch * stream.batch_size

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, row: int) -> tuple[int, int]:
        return self._stream.clip(self._first_row + int(row))


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_clips: int) -> np.ndarray:
    return np.random.default_rng([_ORDER_STREAM, seed, epoch]).permutation(num_clips)


def _check_sizes(source: RandomAccessClips, batch_size: int, process_index: int, process_count: int) -> None:
    if batch_size < 1:
        raise UserError(f"batch size: expected at least 1 clip a process, got {batch_size}")
    if not 0 <= process_index < process_count:
        raise UserError(f"process index: expected 0 to {process_count - 1}, got {process_index}")
    _one_opencv_thread()


def _one_opencv_thread(*_: int) -> None:
    """Threads and workers that make batches already fill the cores; OpenCV's own would only compete with them."""
    cv2.setNumThreads(0)


def _load_train(source: RandomAccessClips, spec: InputSpec, seed: int, place: tuple[int, int]) -> Batch:
    epoch, position = place
    rng = np.random.default_rng([_CLIP_STREAM, seed, epoch, position])
    return train_example(source[position], position, spec, rng)


def _load_eval(source: RandomAccessClips, spec: InputSpec, position: int) -> Batch:
    if position >= len(source):
        return padding_example(spec)
    return eval_example(source[int(position)], int(position), spec)
