"""Puts a run together: mesh, model, initial state and the streams of batches."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from musclemap_jax.checkpoints.state import TrainState, create_state
from musclemap_jax.checkpoints.trained import is_workdir, load_trained
from musclemap_jax.cost.flops import training_flops
from musclemap_jax.cost.hardware import peak_flops
from musclemap_jax.data import pipeline
from musclemap_jax.data.batch import Batch
from musclemap_jax.errors import UserError
from musclemap_jax.eval.evaluator import EvalSplit, Evaluator
from musclemap_jax.eval.score_link import reported_scores
from musclemap_jax.experiment.config import WHOLE_MODEL, ExperimentSpec
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.experiment.program import TrainProgram, batch_shapes, make_program
from musclemap_jax.experiment.workdir import trained_backbones, trained_regions
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.pretrained.initial_weights import GRAPH, HEAD, STREAM, initialise, same_graphs
from musclemap_jax.pretrained.result import load_initial, read_report
from musclemap_jax.sharding.mesh import BatchShard, batch_shard, check_batch_size, make_mesh
from musclemap_jax.sharding.rules import UnshardedParam, unsharded_params
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from musclemap_jax.train.kd_gradient import KdGradient, compile_kd_gradient
from musclemap_jax.train.label_weights import LabelCounts
from musclemap_jax.train.losses import link_of
from musclemap_jax.train.meter import Meter
from musclemap_jax.train.step import StepFunction, compile_train_step

RENDERED = "synthetic"
"""Beginning of the names of the builder's configs that render their clips."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Setup:
    """The fixed parts of a run.

    Attributes:
      spec: The configuration, for the regions of the data.
      data: The prepared clips.
      mesh: The device mesh.
      num_steps: Length of the run.
      program: Model, optimizer and training step.
      shardings: Shardings of the training state.
    """

    spec: ExperimentSpec
    data: PreparedData
    mesh: Mesh
    num_steps: int
    program: TrainProgram
    shardings: TrainState

    def train_batches(self) -> pipeline.TrainIterator:
        """This process's part of the training batches, without end."""
        spec, shard = self.spec, self._shard
        return pipeline.train_iterator(
            self.data.sources["train"],
            spec.input,
            spec.train.batch_size // shard.count,
            spec.seed,
            shard.index,
            shard.count,
            spec.data.num_threads,
            spec.data.num_workers,
            spec.train.samples_per_clip,
        )

    def eval_batches(self, split: str) -> Iterator[Batch]:
        """This process's part of the batches of a split."""
        spec, shard = self.spec, self._shard
        return pipeline.eval_batches(
            self.data.sources[split],
            spec.input,
            spec.eval.batch_size // shard.count,
            shard.index,
            shard.count,
            spec.data.num_threads,
        )

    def step_function(self, saved: str = "") -> StepFunction:
        """The training step, compiled at its first call, or loaded from the file of one that was compiled ahead."""
        return compile_train_step(self.program.step, self.shardings, self.mesh, saved)

    def kd_gradient(self) -> KdGradient | None:
        """Distillation's fraction of the gradient, compiled at its first call; None where it is not measured."""
        function = self.program.kd_gradient
        return None if function is None else compile_kd_gradient(function, self.shardings, self.mesh)

    def meter(self) -> Meter:
        """A meter that knows the step's FLOPs and the devices' peak."""
        flops = training_flops(self.spec.model, self.spec.input)
        return Meter(self.spec.train.batch_size, flops, peak_flops(self.mesh))

    def evaluator(self, batches: Callable[[str], Iterator[Batch]]) -> Evaluator:
        """An evaluator of all splits but the training split.

        Args:
          batches: Returns a new iterator over this process's batches of a split.
        """
        splits = {
            split: EvalSplit(
                batches=functools.partial(batches, split),
                clip_ids=[clip.clip_id for clip in clips],
                activities=[clip.activity for clip in clips],
            )
            for split, clips in self.data.clips.items()
            if split != "train"
        }
        shardings = self.shardings.eval_variables
        scores = reported_scores(link_of(self.spec.loss.kind), self.spec.eval.scores)
        return Evaluator(self.program.model, self.mesh, shardings, splits, self.data.regions, scores)

    @property
    def _shard(self) -> BatchShard:
        return batch_shard(self.mesh)


def set_up(spec: ExperimentSpec, data: PreparedData) -> tuple[Setup, TrainState]:
    """Builds a run's fixed parts and its random initial state.

    Args:
      spec: The result of `config.resolve`.
      data: The result of `load_data`.

    Raises:
      UserError: The mesh does not divide the devices or a batch.
    """
    spec = for_regions(spec, data.regions)
    mesh = make_mesh(spec.mesh.sizes())
    check_batch_size("config.train.batch_size", spec.train.batch_size, mesh, spec.train.grad_accum_steps)
    check_batch_size("config.eval.batch_size", spec.eval.batch_size, mesh)
    batch_shard(mesh)  # raises if processes would share clips in part
    num_steps = spec.train.total_steps(len(data.sources["train"]))
    counts = LabelCounts(len(data.sources["train"]), tuple(data.train_frequency().tolist()))
    program = make_program(spec, num_steps, counts)
    state, shardings = create_state(
        program.model,
        program.optimizer,
        batch_shapes(spec.input, spec.train.batch_size),
        spec.seed,
        mesh,
        ema=spec.optimizer.ema_decay > 0,
    )
    _log_unsharded(unsharded_params(state.params, mesh, program.model.sharding_rules))
    return Setup(spec, data, mesh, num_steps, program, shardings), state


def check_teacher(spec: ExperimentSpec) -> None:
    """Refuses a new run whose frozen branch would teach what its random parameters say.

    On rendered clips it is allowed, since the variants of configs/transm3e_rgbdiff.py check only that everything runs.

    Raises:
      UserError: Nothing initialises the frozen branch.
    """
    for branch in spec.model.frozen_branches:
        given = spec.init_from[branch] or spec.init_from[WHOLE_MODEL]
        if not given and not spec.data.builder.startswith(RENDERED):
            raise UserError(
                f"config.model.second_branch_frozen: branch {branch} is not trained and would stay random: set "
                f"config.init_from.{branch} to trained weights (docs/weights.md)"
            )


def load_initial_weights(setup: Setup, state: TrainState) -> TrainState:
    """Replaces the random parameters of a new run by those that ``config.init_from`` names.

    Raises:
      UserError: They do not fit the model.
    """
    params, batch_stats = state.params, state.batch_stats
    for name, folder in setup.spec.init_from.items():
        if not folder:
            continue
        if is_workdir(folder):
            loaded, regions, backbones = load_trained(folder), trained_regions(folder), trained_backbones(folder)
        else:  # published weights
            loaded, regions, backbones = load_initial(folder), MUSCLE_REGIONS, read_report(folder)["model"]["backbones"]
        same_graph = same_graphs(setup.spec.model, backbones)
        same = {HEAD: regions == setup.data.regions, GRAPH: same_graph, STREAM: same_graph}
        unlike = [part for part, is_same in same.items() if not is_same]
        branch = None if name == WHOLE_MODEL else name
        params, batch_stats, report = initialise(params, batch_stats, loaded, branch, unlike)
        log.info("init_from.%s: %s", name, report.text())
    if params is state.params:
        return state
    params = jax.device_put(params, setup.shardings.params)
    batch_stats = jax.device_put(batch_stats, setup.shardings.batch_stats)
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(state, params=params, batch_stats=batch_stats, ema=ema)


def for_regions(spec: ExperimentSpec, regions: Sequence[str]) -> ExperimentSpec:
    """The configuration for data that is labelled with the given regions.

    Raises:
      UserError: A backbone does not know what to do with them.
    """
    for branch in spec.model.branches:
        backbone = BRANCHES[branch].backbone
        backbone.check_regions(spec.model.backbones[backbone.name], regions, spec.model.num_tokens)
    return dataclasses.replace(
        spec,
        input=dataclasses.replace(spec.input, num_regions=len(regions)),
        model=dataclasses.replace(spec.model, num_regions=len(regions)),
    )


def _log_unsharded(params: Sequence[UnshardedParam]) -> None:
    if params:
        size = sum(math.prod(param.shape) for param in params)
        names = "; ".join(f"{param.name} {param.shape}: {param.reason}" for param in params)
        log.info("%d arrays of %d parameters are not sharded: %s", len(params), size, names)
