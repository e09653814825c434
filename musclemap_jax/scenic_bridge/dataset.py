"""The data set `musclemap` of Scenic's registry: our prepared data, through our own pipeline.

A batch is {"inputs", "label" (B, K) float32, "batch_mask" (B,) float32, 1 for a clip and 0 for padding, "clip_index"},
every array with the axis of this process's devices in front. `inputs` holds all arrays that the model reads, by name
(`data.batch.Batch`), or the frames alone, for Scenic's video models. Iterators are endless, as Scenic's trainers want
them; one pass over an evaluation split is exact: every clip once, padding masked.

Letters of shapes: B clips, S views, T H W frames and pixels, K muscle regions.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.examples import RandomAccessClips
from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.data.pipeline import eval_batches, train_iterator
from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.experiment.prepared_data import PreparedData, load_data
from musclemap_jax.experiment.program import batch_shapes
from musclemap_jax.experiment.setup import for_regions
from musclemap_jax.scenic_bridge.config import DATASET, EVERYTHING, VIDEO
from musclemap_jax.scenic_bridge.installed import scenic_module

VALIDATION, TEST = ("val_known", "val_new"), ("test_known", "test_new")
"""The splits that `valid_iter` and `test_iter` go through, one after the other."""

LABELS = ("muscles", "clip_valid", "clip_index")
"""Arrays of a batch that the model does not read."""


def register() -> None:
    """Enters the data set in Scenic's registry, unless it is there."""
    registry = scenic_module("scenic.dataset_lib.datasets").DatasetRegistry
    with contextlib.suppress(KeyError):
        registry.add(DATASET, make_dataset)


def make_dataset(
    *,
    batch_size: int,
    eval_batch_size: int,
    num_shards: int,
    dtype_str: str = "float32",
    dataset_configs: Any = None,
    first_step: int = 0,
    data: PreparedData | None = None,
    **ignored: Any,
) -> Any:
    """Builds the data set; Scenic calls it by its name.

    Args:
      batch_size: Training clips of a step in this process.
      eval_batch_size: Clips of an evaluation batch in this process.
      num_shards: Number of this process's devices.
      dtype_str: Dtype of frames where `inputs` is "video".
      dataset_configs: `experiment`, as `config.scenic_config` makes it, and `inputs`.
      first_step: Step after which training goes on: the batches of later steps follow.
      data: The prepared data; by default that of `experiment.data`.
      **ignored: What else Scenic passes, such as keys and seeds: order and augmentation follow from `experiment.seed`.

    Raises:
      UserError: The data is absent, or the model reads something that is not in it.
    """
    spec = resolve(dataset_configs.experiment)
    kind = dataset_configs.get("inputs", EVERYTHING)
    if kind not in (EVERYTHING, VIDEO):
        raise UserError(f"config.dataset_configs.inputs: expected {EVERYTHING!r} or {VIDEO!r}, got {kind!r}")
    if kind == VIDEO and (spec.input.num_views, "video" in spec.input.modalities) != (1, True):
        raise UserError(
            f"config.dataset_configs.inputs={VIDEO!r} takes a model with the video branch and one view, got "
            f"{', '.join(spec.input.modalities)} and eval.num_views={spec.input.num_views}"
        )
    data = data or load_data(spec.data)
    return _Builder(for_regions(spec, data.regions), data, num_shards, kind, dtype_str).dataset(
        batch_size, eval_batch_size, first_step
    )


class JoinedClips(RandomAccessClips):
    """Several splits, one after the other."""

    def __init__(self, sources: Sequence[RandomAccessClips]) -> None:
        self._sources = sources

    def __len__(self) -> int:
        return sum(map(len, self._sources))

    def __getitem__(self, index: int) -> ClipRecord:
        for source in self._sources:
            if index < len(source):
                return source[index]
            index -= len(source)
        raise IndexError(index)


class _Builder:
    """Makes the iterators and what they are described by."""

    def __init__(self, spec: ExperimentSpec, data: PreparedData, num_shards: int, kind: str, dtype: str) -> None:
        self._spec, self._data, self._num_shards, self._kind, self._dtype = spec, data, num_shards, kind, dtype

    def dataset(self, batch_size: int, eval_batch_size: int, first_step: int) -> Any:
        """Scenic's `Dataset`."""
        train = self._data.sources["train"]
        valid, test = map(self._joined, (VALIDATION, TEST))
        shapes = input_shapes(self._spec.input)
        shape, dtype = shapes[self._spec.input.modalities[0]]
        if self._kind == VIDEO:
            shape, dtype = shape[1:], np.dtype(self._dtype)
        meta_data = {
            "num_classes": len(self._data.regions),
            "input_shape": (-1, *shape),
            "input_dtype": dtype,
            "inputs": shapes,
            "target_is_onehot": True,
            "num_train_examples": len(train),
            "num_eval_examples": len(valid),
            "num_test_examples": len(test),
        }
        return scenic_module("scenic.dataset_lib.dataset_utils").Dataset(
            train_iter=self._train(train, batch_size, first_step),
            valid_iter=self._eval(valid, eval_batch_size),
            test_iter=self._eval(test, eval_batch_size),
            meta_data=meta_data,
        )

    def _joined(self, splits: Sequence[str]) -> JoinedClips:
        return JoinedClips([self._data.sources[split] for split in splits if split in self._data.sources])

    def _train(self, source: RandomAccessClips, batch_size: int, first_step: int) -> Iterator[dict[str, Any]]:
        spec, data = self._spec, self._spec.data
        index, count = jax.process_index(), jax.process_count()
        batches = train_iterator(
            source, spec.input, batch_size, spec.seed, index, count, data.num_threads, data.num_workers
        )
        batches.set_state(batches.get_state() | {"place": first_step * batch_size * count})
        return map(self._sharded, batches)

    def _eval(self, source: RandomAccessClips, batch_size: int) -> Iterator[dict[str, Any]] | None:
        if not len(source):
            return None
        index, count, threads = jax.process_index(), jax.process_count(), self._spec.data.num_threads
        passes = (eval_batches(source, self._spec.input, batch_size, index, count, threads) for _ in itertools.count())
        return map(self._sharded, itertools.chain.from_iterable(passes))

    def _sharded(self, batch: Batch) -> dict[str, Any]:
        """The batch with Scenic's names and the axis of devices in front."""
        arrays: dict[str, Any] = {name: array for name, array in batch.items() if name not in LABELS}
        renamed = {
            "inputs": arrays if self._kind == EVERYTHING else _centred(arrays["video"][:, 0], self._dtype),
            "label": batch["muscles"],
            "batch_mask": batch["clip_valid"].astype(np.float32),
            "clip_index": batch["clip_index"],
        }
        return jax.tree.map(lambda array: array.reshape(self._num_shards, -1, *array.shape[1:]), renamed)


def input_shapes(spec: InputSpec) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """(shape without the axis of clips, dtype) of each array that a model reads, by its name."""
    shapes = batch_shapes(spec, 1)
    return {name: (leaf.shape[1:], leaf.dtype) for name, leaf in shapes.items() if name not in LABELS}


def _centred(video: np.ndarray, dtype: str) -> np.ndarray:
    """uint8 frames in [-1, 1], as Scenic's published video models take them."""
    return (video.astype(np.float32) / 127.5 - 1.0).astype(dtype)
