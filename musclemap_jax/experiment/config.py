"""The configuration of an experiment: one dataclass, and its form as a ConfigDict for files and flags.

A file in configs/ takes `default_config()`, changes fields and returns it; `--config.train.batch_size=32` changes one
on the command line; `resolve` turns the result back into the dataclasses that every part takes, which check their own
fields. So each setting is written down once, beside the code that it reaches.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.errors import UserError
from musclemap_jax.eval.evaluator import EvalSpec
from musclemap_jax.models.transm3e import BRANCHES, ModelSpec
from musclemap_jax.sharding.mesh import AXES
from musclemap_jax.train.loop import TrainSpec
from musclemap_jax.train.objective import ObjectiveSpec
from musclemap_jax.train.optimizer import OptimizerSpec


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """Where the data comes from.

    Attributes:
      builder: config of the TFDS builder `musclemap`, one that stores what the model takes.
      data_dir: where prepared data sets lie; the TFDS default (``TFDS_DATA_DIR`` or ~/tensorflow_datasets) if empty.
      raw_dir: the raw data set with annotations.csv, needed where the data is not prepared yet and is not synthetic.
      max_rejected_fraction: share of clips at fault above which the preparation ends with an error, in [0, 1].
      skeleton_layout: of the raw data set's skeleton files.
      num_threads: that make batches in each process.
      num_workers: processes that make batches beside this one; 0 for threads alone.
    """

    builder: str = "multimodal"
    data_dir: str = ""
    raw_dir: str = ""
    max_rejected_fraction: float = 0.05
    skeleton_layout: str = "coco17"
    num_threads: int = 4
    num_workers: int = 0


@dataclasses.dataclass(frozen=True)
class InitSpec:
    """What a new run starts from: folders that `musclemap_jax.pretrained` wrote, or workdirs of runs; empty for random.

    Attributes:
      model: for the whole model.
      video: for the video branch.
      skeleton: for the skeleton branch.
      rgb_diff: for the branch on RGB difference.
      optical_flow: for the branch on optical flow.
    """

    model: str = ""
    video: str = ""
    skeleton: str = ""
    rgb_diff: str = ""
    optical_flow: str = ""


@dataclasses.dataclass(frozen=True)
class MeshSpec:
    """Size of each axis of the device mesh; -1 takes the devices that the others leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def sizes(self) -> dict[str, int]:
        """{axis: size}."""
        return {axis: getattr(self, axis) for axis in AXES}


@dataclasses.dataclass(frozen=True)
class ExperimentSpec:
    """Everything that a run depends on.

    Attributes:
      seed: of the initial parameters, the order of the clips and all random changes.
      data: where the data comes from.
      input: what the model is shown; its modalities and views follow from ``model`` and ``eval``.
      model: the architecture.
      init_from: what the parameters start from.
      loss: the objective.
      optimizer: the optimizer.
      train: length and rhythm.
      eval: the evaluation.
      mesh: the device mesh.
    """

    seed: int = 0
    data: DataSpec = dataclasses.field(default_factory=DataSpec)
    input: InputSpec = dataclasses.field(default_factory=InputSpec)
    model: ModelSpec = dataclasses.field(default_factory=ModelSpec)
    init_from: InitSpec = dataclasses.field(default_factory=InitSpec)
    loss: ObjectiveSpec = dataclasses.field(default_factory=ObjectiveSpec)
    optimizer: OptimizerSpec = dataclasses.field(default_factory=OptimizerSpec)
    train: TrainSpec = dataclasses.field(default_factory=TrainSpec)
    eval: EvalSpec = dataclasses.field(default_factory=EvalSpec)
    mesh: MeshSpec = dataclasses.field(default_factory=MeshSpec)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"config.seed must not be negative, got {self.seed}")
        named = [name for name in BRANCHES if getattr(self.init_from, name)]
        absent = sorted(set(named) - set(self.model.branches))
        if absent or (self.init_from.model and named):
            raise UserError(
                f"config.init_from: expected 'model' or branches of {self.model.branches}, got "
                f"{', '.join(['model'] * bool(self.init_from.model) + named)}"
            )
        if "skeleton" in self.model.branches and self.input.layout != self.model.skeleton.layout:
            raise UserError(
                f"config.input.layout is {self.input.layout!r} and config.model.skeleton.layout "
                f"{self.model.skeleton.layout!r}: make them the same"
            )


_MODALITIES = {"video": "video", "rgb_diff": "video", "optical_flow": "flow", "skeleton": "skeleton"}
"""What each branch takes of a batch."""

DERIVED: dict[str, tuple[str, ...]] = {"input": ("modalities", "num_views", "num_regions")}
"""Fields that follow from other sections and so are not in a ConfigDict."""


def _as_config(spec: Any, section: str = "") -> ml_collections.ConfigDict:
    """ConfigDict of a dataclass, nested dataclasses as nested ConfigDicts."""
    config = ml_collections.ConfigDict()
    hints = typing.get_type_hints(type(spec))
    for field in dataclasses.fields(spec):
        if field.name in DERIVED.get(section, ()):
            continue
        value = getattr(spec, field.name)
        if dataclasses.is_dataclass(value):
            config[field.name] = _as_config(value, field.name)
        elif value is None:
            config[field.name] = ml_collections.config_dict.placeholder(_type_beside_none(hints[field.name]))
        else:
            # A ConfigDict keeps a field's first type: a default of 4 must not shut out 2.5.
            config[field.name] = float(value) if hints[field.name] is float else value
    return config


def _type_beside_none(annotation: Any) -> type:
    """The type that an optional field has where it is given: a placeholder's."""
    given = next(choice for choice in typing.get_args(annotation) if choice is not types.NoneType)
    return typing.get_origin(given) or given


def default_config() -> ml_collections.ConfigDict:
    """The configuration of the paper: MViTv2-S 16x4 at 224 and HD-GCN on MuscleMap; locked against unknown keys."""
    return _as_config(ExperimentSpec()).lock()


def _from_config(spec: type, config: Mapping[str, Any], path: str) -> Any:
    """The dataclass ``spec`` with the values of ``config``."""
    hints = typing.get_type_hints(spec)
    fields = {field.name for field in dataclasses.fields(spec)}
    unknown = sorted(set(config) - fields)
    if unknown:
        raise UserError(f"{path}.{unknown[0]}: unknown key; known are {', '.join(sorted(fields))}")
    values = {}
    for name, value in config.items():
        if dataclasses.is_dataclass(hints[name]):
            values[name] = _from_config(hints[name], value, f"{path}.{name}")
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    try:
        return spec(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error


def resolve(config: Mapping[str, Any]) -> ExperimentSpec:
    """Checks a configuration and turns it into the dataclasses that the parts take.

    Args:
      config: of `default_config`'s structure.

    Raises:
      UserError: an unknown key, a value that cannot be, or values that contradict each other; names the key.
    """
    spec = _from_config(ExperimentSpec, config, "config")
    modalities = dict.fromkeys(_MODALITIES[branch] for branch in spec.model.branches)
    return dataclasses.replace(
        spec, input=dataclasses.replace(spec.input, modalities=tuple(modalities), num_views=spec.eval.num_views)
    )
