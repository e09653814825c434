"""One run from the prepared data to its figures: puts data, model, training and evaluation together."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from etils import epath

from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState, create_state
from musclemap_jax.checkpoints.trained import is_workdir, load_trained
from musclemap_jax.cost.flops import training_flops
from musclemap_jax.cost.hardware import peak_flops
from musclemap_jax.data import pipeline
from musclemap_jax.data.batch import Batch
from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.errors import UserError
from musclemap_jax.eval.evaluator import EvalSplit, Evaluator
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.config import DataSpec, ExperimentSpec
from musclemap_jax.experiment.program import batch_shapes, make_program
from musclemap_jax.pretrained.result import initialise, load_initial
from musclemap_jax.runtime.barrier import barrier
from musclemap_jax.runtime.compilation_cache import cache_folder
from musclemap_jax.runtime.preemption import PreemptionNotice
from musclemap_jax.runtime.profiling import Profiler
from musclemap_jax.runtime.watchdog import Watchdog
from musclemap_jax.sharding.mesh import batch_share, check_batch_size, make_mesh
from musclemap_jax.sharding.rules import unsharded_params
from musclemap_jax.storage.files import one_process_at_a_time, replace_text, staged
from musclemap_jax.storage.run_log import RunLog
from musclemap_jax.taxonomy import MUSCLE_REGIONS, SPLITS
from musclemap_jax.train.loop import TrainingLoop
from musclemap_jax.train.meter import Meter
from musclemap_jax.train.step import compile_train_step
from tfds_musclemap.prepare import prepare
from tfds_musclemap.source import ClipSource, split_annotations

CONFIG = "config.json"
VALIDATION_SPLITS = ("val_known", "val_new")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """The prepared clips of a run.

    Attributes:
      sources: split -> random access to its records; splits without clips are absent.
      clips: split -> annotations, in the source's order.
      regions: K names of the muscle regions, in label order.
    """

    sources: dict[str, ClipSource]
    clips: dict[str, list[Clip]]
    regions: tuple[str, ...] = MUSCLE_REGIONS

    def with_clips(self, splits: Sequence[str]) -> list[str]:
        """Those of the splits that have clips; the others are named in the log.

        Raises:
          UserError: none of them has any.
        """
        present = [split for split in splits if split in self.sources]
        for split in sorted(set(splits) - set(present)):
            log.warning("split %s has no clips and is not evaluated", split)
        if not present:
            raise UserError(f"config.eval.splits: none of {', '.join(splits)} has clips: choose others or add clips")
        return present


def _turn_to_prepare(spec: DataSpec) -> contextlib.AbstractContextManager[None]:
    """Lets the processes of a run that are on this machine in one after another: the first prepares what is absent."""
    if jax.process_count() == 1:
        return contextlib.nullcontext()
    name = hashlib.sha256(f"{spec.builder} {spec.data_dir}".encode()).hexdigest()[:16]
    return one_process_at_a_time(cache_folder() / "locks" / name)


def load_data(spec: DataSpec) -> PreparedData:
    """Opens the prepared data; calls the TFDS builder where there is none.

    Data on cloud storage is copied into the cache folder of this machine first.

    Raises:
      UserError: no data and nothing to build it from, or faults of the raw data set.
    """
    with _turn_to_prepare(spec):
        builder = prepare(
            spec.builder,
            spec.data_dir or None,
            raw_dir=spec.raw_dir or None,
            max_rejected_fraction=spec.max_rejected_fraction,
            skeleton_layout=spec.skeleton_layout,
        )
    present = [split for split in SPLITS if split in builder.info.splits and builder.info.splits[split].num_examples]
    folder = staged(builder.data_path, cache_folder() / "data")
    sources = {split: ClipSource(folder, split) for split in present}
    if "train" not in sources:
        raise UserError(f"{builder.data_path}: split train has no clips: add some to annotations.csv")
    return PreparedData(sources, {split: split_annotations(source) for split, source in sources.items()})


class Experiment:
    """A model with its data on a mesh: trains, restores and evaluates.

    Attributes:
      spec: everything the run depends on.
      workdir: folder of the run.
      data: the prepared clips.
      state: the training state.
    """

    def __init__(self, spec: ExperimentSpec, workdir: epath.PathLike, data: PreparedData) -> None:
        """Builds the model and a new state.

        Args:
          spec: of `config.resolve`.
          workdir: folder of the run; made if absent.
          data: of `load_data`.

        Raises:
          UserError: the mesh does not divide the devices or a batch.
        """
        self.spec = spec
        self.workdir = epath.Path(workdir)
        self.data = data
        self._notice = PreemptionNotice()
        self._watchdog = Watchdog(spec.train.stall_timeout_s, "config.train.stall_timeout_s")
        self._mesh = make_mesh(spec.mesh.sizes())
        check_batch_size("config.train.batch_size", spec.train.batch_size, self._mesh, spec.train.grad_accum_steps)
        check_batch_size("config.eval.batch_size", spec.eval.batch_size, self._mesh)
        self._share = batch_share(self._mesh)
        self.num_steps = spec.train.total_steps(len(data.sources["train"]))
        self._program = make_program(spec, self.num_steps)
        self.state, self._shardings = create_state(
            self._program.model,
            self._program.optimizer,
            batch_shapes(spec.input, spec.train.batch_size),
            spec.seed,
            self._mesh,
            ema=spec.optimizer.ema_decay > 0,
        )
        self._evaluator = Evaluator(
            self._program.model, self._mesh, self._shardings.eval_variables, self._eval_splits(), data.regions
        )
        self._log_what_is_left_whole()
        barrier("experiment")

    def _log_what_is_left_whole(self) -> None:
        whole = unsharded_params(self.state.params, self._mesh, self._program.model.sharding_rules)
        if whole:
            size = sum(math.prod(array.shape) for array in whole)
            names = "; ".join(f"{array.name} {array.shape}: {array.reason}" for array in whole)
            log.info("%d arrays of %d parameters lie whole on every device: %s", len(whole), size, names)

    def parameter_counts(self) -> dict[str, int]:
        """Number of parameters of each part of the model."""
        return {
            name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in sorted(self.state.params.items())
        }

    def train(self, profile_steps: range = range(0)) -> None:
        """Trains to the end, from the newest checkpoint where the workdir holds one.

        Args:
          profile_steps: steps to be traced.

        Raises:
          UserError: the workdir holds a run of another configuration, or the disk is full.
          Preempted: the run was asked to stop; its state is saved.
        """
        spec = self.spec
        self._claim_workdir()
        with contextlib.ExitStack() as opened:
            checkpointer = opened.enter_context(
                contextlib.closing(Checkpointer(self.workdir, spec.train.keep_checkpoints))
            )
            batches = opened.enter_context(contextlib.closing(self._training_batches()))
            self._resume(checkpointer, batches)
            primary = jax.process_index() == 0
            loop = TrainingLoop(
                step_function=compile_train_step(self._program.step, self._shardings, self._mesh),
                batches=batches,
                mesh=self._mesh,
                spec=spec.train,
                num_steps=self.num_steps,
                checkpointer=checkpointer,
                log=opened.enter_context(
                    contextlib.closing(RunLog(self.workdir, int(self.state.step), self.num_steps, primary))
                ),
                meter=Meter(spec.train.batch_size, training_flops(spec.model, spec.input), peak_flops(self._mesh)),
                evaluate=self._validate,
                notice=self._notice,
                watchdog=self._watchdog,
                profiler=opened.enter_context(contextlib.closing(Profiler(self.workdir, profile_steps))),
            )
            self.state = loop.run(self.state)

    def _training_batches(self) -> pipeline.TrainIterator:
        return pipeline.train_iterator(
            self.data.sources["train"],
            self.spec.input,
            self.spec.train.batch_size // self._share.count,
            self.spec.seed,
            self._share.index,
            self._share.count,
            self.spec.data.num_threads,
            self.spec.data.num_workers,
        )

    def _resume(self, checkpointer: Checkpointer, batches: pipeline.TrainIterator) -> None:
        """Takes the newest whole checkpoint, or starts a new run."""
        step = checkpointer.newest_whole_step()
        if step is None:
            self._initialise()
            return
        self.state = checkpointer.restore(self.state, self._shardings, batches, step)
        checkpointer.scores.drop_after(step)
        log.info("resumed from step %d of %d", step, self.num_steps)

    def _initialise(self) -> None:
        """Starts a new run from what ``config.init_from`` names."""
        params, batch_stats = self.state.params, self.state.batch_stats
        for name, folder in self.spec.init_from.items():
            if not folder:
                continue
            loaded = load_trained(folder) if is_workdir(folder) else load_initial(folder)
            branch = None if name == "model" else name
            params, batch_stats, report = initialise(params, batch_stats, loaded, branch)
            log.info("init_from.%s: %s", name, report.text())
        if params is not self.state.params:
            params = jax.device_put(params, self._shardings.params)
            batch_stats = jax.device_put(batch_stats, self._shardings.batch_stats)
            ema = None if self.state.ema is None else jax.tree.map(jnp.copy, params)
            self.state = self.state.replace(params=params, batch_stats=batch_stats, ema=ema)

    def restore(self) -> None:
        """Takes the newest or the best checkpoint of the workdir, as ``eval.checkpoint`` says.

        Raises:
          UserError: there is none, or it is of another model.
        """
        with contextlib.closing(Checkpointer(self.workdir, read_only=True)) as checkpointer:
            step = checkpointer.best_step() if self.spec.eval.checkpoint == "best" else None
            self.state = checkpointer.restore(self.state, self._shardings, step=step)

    def evaluate(self, splits: Sequence[str]) -> tuple[Metrics, dict[str, SplitPredictions]]:
        """Figures and predictions of the state on the splits, each of which has clips."""
        return self._evaluator.evaluate(self.state.eval_variables, splits)

    def _validate(self, state: TrainState) -> dict[str, float]:
        present = [split for split in VALIDATION_SPLITS if split in self.data.sources]
        return self._evaluator.evaluate(state.eval_variables, present)[0].scalars() if present else {}

    def _eval_splits(self) -> dict[str, EvalSplit]:
        return {
            split: EvalSplit(
                batches=functools.partial(self._eval_batches, split),
                clip_ids=[clip.clip_id for clip in self.data.clips[split]],
                activities=[clip.activity for clip in self.data.clips[split]],
            )
            for split in self.data.sources
            if split != "train"
        }

    def _eval_batches(self, split: str) -> Iterator[Batch]:
        """This process's batches of a split; the run may be asked to stop between two of them."""
        batches = pipeline.eval_batches(
            self.data.sources[split],
            self.spec.input,
            self.spec.eval.batch_size // self._share.count,
            self._share.index,
            self._share.count,
            self.spec.data.num_threads,
        )
        for batch in self._watchdog.watched(batches, f"batch of {split}, number"):
            self._notice.raise_if_reached()
            yield batch

    def _claim_workdir(self) -> None:
        """Writes the configuration into the workdir, or compares it with the one that is there."""
        path = self.workdir / CONFIG
        config = json.loads(json.dumps(dataclasses.asdict(self.spec)))
        if path.exists():
            different = _differences(json.loads(path.read_text()), config)
            if different:
                raise UserError(
                    f"{path}: this workdir holds a run with another configuration ({'; '.join(different[:3])}): "
                    "choose another --workdir, or give the same configuration to go on with that run"
                )
            return
        self.workdir.mkdir(parents=True, exist_ok=True)
        if jax.process_index() == 0:
            replace_text(path, json.dumps(config, indent=2) + "\n")


MAY_CHANGE = (
    "data",
    "eval",
    "mesh",
    "train.log_every",
    "train.keep_checkpoints",
    "train.checkpoint_every",
    "train.stall_timeout_s",
)
"""Parts of the configuration that a resumed run may have otherwise: they do not change what is learned."""


def _differences(before: dict, after: dict, path: str = "") -> list[str]:
    """Keys whose values differ, as text, without those that may change."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        key = f"{path}{name}"
        old, new = before.get(name), after.get(name)
        if key in MAY_CHANGE or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{key}.")
        else:
            found.append(f"{key} was {old}, is {new}")
    return found
