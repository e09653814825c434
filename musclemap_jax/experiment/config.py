"""The configuration of an experiment: one dataclass, and its form as a ConfigDict for files and flags.

A file in configs/ takes `default_config()`, changes fields and returns it; `--config.train.batch_size=32` changes one
on the command line; `resolve` turns the result back into the dataclasses of the parts, which check their own fields.
So each setting is written down once, beside the code that it reaches.
"""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.errors import UserError
from musclemap_jax.eval.evaluator import EvalSpec
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.sharding.mesh import AXES
from musclemap_jax.train.loop import TrainSpec
from musclemap_jax.train.objective import ObjectiveSpec
from musclemap_jax.train.optimizer import OptimizerSpec

WHOLE_MODEL = "model"
"""Key of `config.init_from` for the weights of all branches together."""


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """Where the data comes from.

    Attributes:
      builder: Config of the TFDS builder `musclemap`; it must store what the model reads.
      data_dir: Folder of prepared data sets; if empty, the TFDS default (`TFDS_DATA_DIR` or ~/tensorflow_datasets).
      raw_dir: The raw data set with annotations.csv, needed unless the data is prepared already or synthetic.
      rebuild: Whether prepared data that is out of date, because files of `raw_dir` or settings have changed since, is
        built again; otherwise the run ends with an error.
      max_rejected_fraction: Fraction of rejected clips above which the preparation fails, in [0, 1].
      skeleton_layout: Layout of the raw data set's skeleton files.
      num_threads: Number of threads that make batches in each process.
      num_workers: Number of additional processes that make batches; 0 for threads alone.
    """

    builder: str = "multimodal"
    data_dir: str = ""
    raw_dir: str = ""
    rebuild: bool = False
    max_rejected_fraction: float = 0.05
    skeleton_layout: str = "coco17"
    num_threads: int = 4
    num_workers: int = 0

    def __post_init__(self) -> None:
        for name in ("data_dir", "raw_dir"):
            object.__setattr__(self, name, os.path.expanduser(getattr(self, name)))
        if not 0 <= self.max_rejected_fraction <= 1:
            raise UserError(
                f"config.data.max_rejected_fraction: expected a fraction in [0, 1], got {self.max_rejected_fraction}"
            )
        for name in ("num_threads", "num_workers"):
            if getattr(self, name) < 0:
                raise UserError(f"config.data.{name} must not be negative, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class MeshSpec:
    """Size of each axis of the device mesh; -1 takes the devices that the other axes leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def sizes(self) -> dict[str, int]:
        """{axis: size}."""
        return {axis: getattr(self, axis) for axis in AXES}


def _no_weights() -> dict[str, str]:
    return {WHOLE_MODEL: "", **dict.fromkeys(BRANCHES, "")}


@dataclasses.dataclass(frozen=True)
class ExperimentSpec:
    """Everything that a run depends on.

    Attributes:
      seed: Seed of the initial parameters, the order of the clips and all random augmentation.
      data: Where the data comes from.
      input: What the model sees; its modalities, views and crops follow from `model` and `eval`.
      model: The architecture.
      init_from: Weights that a new run starts from, for the whole `model` or by branch: a folder that
        `musclemap_jax.pretrained` wrote, or the workdir of a run; empty for random initial values.
      loss: The objective.
      optimizer: The optimizer.
      train: Length of the training, and how often it logs, evaluates and saves.
      eval: The evaluation.
      mesh: The device mesh.
    """

    seed: int = 0
    data: DataSpec = dataclasses.field(default_factory=DataSpec)
    input: InputSpec = dataclasses.field(default_factory=InputSpec)
    model: ModelSpec = dataclasses.field(default_factory=ModelSpec)
    init_from: Mapping[str, str] = dataclasses.field(default_factory=_no_weights)
    loss: ObjectiveSpec = dataclasses.field(default_factory=ObjectiveSpec)
    optimizer: OptimizerSpec = dataclasses.field(default_factory=OptimizerSpec)
    train: TrainSpec = dataclasses.field(default_factory=TrainSpec)
    eval: EvalSpec = dataclasses.field(default_factory=EvalSpec)
    mesh: MeshSpec = dataclasses.field(default_factory=MeshSpec)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise UserError(f"config.seed must be from 0 to 2^32 - 1, got {self.seed}")
        weights = {name: os.path.expanduser(folder) for name, folder in self.init_from.items()}
        object.__setattr__(self, "init_from", weights)
        given = [name for name, folder in self.init_from.items() if folder]
        if not set(given) <= set(self.model.branches) and given != [WHOLE_MODEL]:
            raise UserError(
                f"config.init_from: expected {WHOLE_MODEL!r} or branches of {self.model.branches}, got "
                f"{', '.join(given)}"
            )
        self._check_distillation()
        self._check_mixing()
        for branch in self.model.branches:
            backbone = BRANCHES[branch].backbone
            for field, value in backbone.input_fields(self.model.architecture(branch)).items():
                if getattr(self.input, field) != value:
                    raise UserError(
                        f"config.input.{field} is {getattr(self.input, field)!r} and "
                        f"config.model.backbones.{backbone.name}.{field} {value!r}: make them the same"
                    )

    def _check_distillation(self) -> None:
        """Refuses settings of a distillation that the model does not have."""
        if self.loss.kd_logits_weight and not self.model.learners:
            raise UserError(
                "config.loss.kd_logits_weight: logits teach logits where both branches have a head and one of them is "
                f"taught, got branches {self.model.branches}: set it to 0, or check config.model.directions"
            )
        distils = self.loss.kd_logits_weight or (self.loss.kd_weight and self.model.taught)
        if self.train.kd_gradient_every and not distils:
            raise UserError("config.train.kd_gradient_every: this configuration distils nothing: set it to 0")

    def _check_mixing(self) -> None:
        """Refuses parts of a batch in which a clip is without its partner."""
        inside = [name for name in self.model.branches if BRANCHES[name].mixes_features]
        parts = self.train.grad_accum_steps
        per_part = self.train.batch_size // parts
        if self.train.mixing.is_on and inside and parts > 1 and per_part % 2:
            raise UserError(
                f"config.train.grad_accum_steps: branch {inside[0]} mixes pairs of clips, so each of {parts} parts of "
                f"a batch needs an even number of them, got {self.train.batch_size} / {parts} = {per_part}: make "
                f"config.train.batch_size a multiple of {2 * parts}"
            )


DERIVED: dict[str, tuple[str, ...]] = {
    "input": ("modalities", "num_views", "num_crops", "num_regions"),
    "model": ("num_regions",),
}
"""Fields by section that follow from other sections or from the data, and so are not in a ConfigDict."""


RETIRED: dict[str, Any] = {
    "config.model.backbones.hdgcn.limb_views": False,
    "config.model.backbones.hdgcn.arm_regions": ...,
}
"""Keys that stored configurations have and this version has not -> the value without effect, which alone is read; `...`
where no value has one: `arm_regions` was for limb views."""


def _as_config(spec: Any, section: str = "") -> ml_collections.ConfigDict:
    """ConfigDict of a dataclass or mapping; nested ones become nested ConfigDicts."""
    config = ml_collections.ConfigDict()
    hints = {} if isinstance(spec, Mapping) else typing.get_type_hints(type(spec))
    for name, value in _fields(spec).items():
        if name in DERIVED.get(section, ()):
            continue
        if _is_section(value):
            config[name] = _as_config(value, name)
        elif value is None:
            config[name] = ml_collections.config_dict.placeholder(_type_beside_none(hints[name]))
        else:
            # A ConfigDict keeps a field's first type: a default of 4 must not rule out 2.5.
            config[name] = float(value) if hints.get(name) is float else value
    return config


def _is_section(value: Any) -> bool:
    return dataclasses.is_dataclass(value) or isinstance(value, Mapping)


def _fields(spec: Any) -> dict[str, Any]:
    """{name: value} of a dataclass or mapping."""
    if isinstance(spec, Mapping):
        return dict(spec)
    return {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}


def _type_beside_none(annotation: Any) -> type:
    """The type of an optional field where it is given, for a placeholder."""
    given = next(choice for choice in typing.get_args(annotation) if choice is not types.NoneType)
    return typing.get_origin(given) or given


def default_config() -> ml_collections.ConfigDict:
    """The configuration of the paper: MViTv2-S 16x4 at 224 and HD-GCN on MuscleMap; locked against unknown keys."""
    return to_config(ExperimentSpec())


def to_config(spec: ExperimentSpec) -> ml_collections.ConfigDict:
    """The inverse of `resolve`: a ConfigDict, locked against unknown keys."""
    return _as_config(spec).lock()


def _from_config(default: Any, config: Mapping[str, Any] | ml_collections.ConfigDict, path: str) -> Any:
    """The dataclass or mapping `default` with the values of `config`."""
    config, known = _without_retired(config, path), _fields(default)
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise UserError(f"{path}.{unknown[0]}: unknown key; known are {', '.join(sorted(known))}")
    hints = {} if isinstance(default, Mapping) else typing.get_type_hints(type(default))
    values = {}
    for name, value in config.items():
        if _is_section(known[name]):
            values[name] = _from_config(known[name], value, f"{path}.{name}")
        else:
            values[name] = _none_if_written(_as_tuple(value), hints.get(name))
            if not _is_of_type(values[name], hints.get(name)):
                raise UserError(f"{path}.{name}: expected {_type_name(hints[name])}, got {value!r}")
            _check_finite(values[name], f"{path}.{name}")
    if isinstance(default, Mapping):
        return {**known, **values}
    try:
        return dataclasses.replace(default, **values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error


def _without_retired(config: Mapping[str, Any] | ml_collections.ConfigDict, path: str) -> dict[str, Any]:
    """The values without the retired keys, each of which has to be without effect."""
    retired = {name: RETIRED[key] for name in config if (key := f"{path}.{name}") in RETIRED}
    for name, without_effect in retired.items():
        if without_effect is not ... and config[name] != without_effect:
            raise UserError(
                f"{path}.{name}: this version of the code no longer has it, so it reads {without_effect} alone, got "
                f"{config[name]!r}: use the version that the run was trained by"
            )
    return {name: value for name, value in config.items() if name not in retired}


def _as_tuple(value: Any) -> Any:
    """Lists, which JSON and ConfigDicts hold, as tuples, at every depth."""
    return tuple(_as_tuple(element) for element in value) if isinstance(value, list | tuple) else value


def _none_if_written(value: Any, annotation: Any) -> Any:
    """The value; None for an optional field whose flag was `--config.KEY=None`, which flags read as text or a tuple."""
    return None if types.NoneType in typing.get_args(annotation) and value in ("None", (None,)) else value


def _is_of_type(value: Any, annotation: Any) -> bool:
    """Whether a value is of a field's type: a tuple is a sequence, an integer a number; other types are not checked."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is types.UnionType:
        return any(_is_of_type(value, part) for part in parts)
    if origin is Sequence or (origin is tuple and parts[-1] is ...):
        return isinstance(value, tuple) and all(_is_of_type(element, parts[0]) for element in value)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(_is_of_type, value, parts))
    if annotation not in (bool, int, float, str, types.NoneType):
        return True
    return type(value) is annotation or (annotation is float and type(value) is int)


def _type_name(annotation: Any) -> str:
    """An annotation as a file has it, such as ``tuple[int, int]``."""
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return name.replace("collections.abc.", "")


def _check_finite(value: Any, path: str) -> None:
    """Raises UserError for NaN and infinities, which pass many a comparison, also inside tuples."""
    if isinstance(value, tuple):
        for element in value:
            _check_finite(element, path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{path}: expected a finite number, got {value}")


def resolve(config: Mapping[str, Any] | ml_collections.ConfigDict) -> ExperimentSpec:
    """Checks a configuration and turns it into the dataclasses of the parts.

    Args:
      config: A configuration with the structure of `default_config`.

    Raises:
      UserError: An unknown key, an invalid value, or values that contradict each other; names the key.
    """
    spec = _from_config(ExperimentSpec(), config, "config")
    return dataclasses.replace(
        spec,
        input=dataclasses.replace(
            spec.input,
            modalities=spec.model.modalities,
            num_views=spec.eval.num_views,
            num_crops=spec.eval.num_crops,
        ),
    )
