"""TransM3E, or one branch of it, as a model that Scenic's `classification_trainer` trains as it is.

Three things make that possible. The trainer initialises a model from one array, which the module takes for an example
batch of its own. What the trainer calls logits may be any pytree: here the model's whole output, so that the loss has
the class tokens of both branches for distillation. And the trainer maps the step over devices and averages gradients:
the outputs of all devices are gathered before the loss, which so is our own objective of the whole batch (a term may
count only clips in which somebody is seen, and these lie unevenly), and batch norms average over the devices.

Letters of shapes: B clips, K muscle regions.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import resolve
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.scenic_bridge.config import MODEL, scenic_config
from musclemap_jax.scenic_bridge.installed import scenic_module
from musclemap_jax.sharding.mapped_axis import mapped_over
from musclemap_jax.train.objective import objective

AXIS = "batch"
"""The axis over which Scenic's trainers map their steps."""

Shapes = tuple[tuple[str, tuple[int, ...], str], ...]
"""(name, shape without the axis of clips, dtype) of each input array."""


class MappedTransM3E(nn.Module):
    """TransM3E with the signature of Scenic's models, and with the parameters' names of ours.

    Attributes:
      spec: The architecture.
      example: Names, shapes and dtypes of the inputs, by which parameters are initialised.
    """

    spec: ModelSpec
    example: Shapes

    def setup(self) -> None:
        self.model = TransM3E(self.spec)
        nn.share_scope(self, self.model)

    def __call__(
        self, inputs: Mapping[str, jax.Array] | jax.Array, *, train: bool = False, debug: bool = False
    ) -> ModelOutput:
        """Runs the model.

        Args:
          inputs: What the branches read, by name. An array stands for an example of them: Scenic's trainer initialises
            a model from one.
          train: Whether dropout and batch statistics are on, which then are over the mapped axis `AXIS`.
          debug: Ignored.
        """
        del debug
        if not isinstance(inputs, Mapping):
            inputs = {name: jnp.zeros((1, *shape), dtype) for name, shape, dtype in self.example}
        if not train:
            output = self.model(inputs, distil=self.is_initializing())
        else:
            with mapped_over(AXIS):
                output = self.model(inputs, train=True)
        return dataclasses.replace(output, branches={})  # tokens beside the sites are of no use to a trainer


def whole_batch(tree: Any) -> Any:
    """Arrays of the clips of all devices, from each device's own."""
    return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, AXIS, tiled=True), tree)


@functools.cache
def model_class() -> type:
    """The class that Scenic's trainers take as `model_cls`, called as model_cls(config, dataset.meta_data).

    Raises:
      UserError: Scenic is not installed.
    """
    base = scenic_module("scenic.model_lib.base_models.multilabel_classification_model").MultiLabelClassificationModel

    class MuscleMapModel(base):
        """The model of `dataset_configs.experiment`; our objective is its loss, the objective's terms are its metrics.

        `prec@1` is Scenic's own; mAP over splits is computed by our evaluator on the finished run (docs/scenic.md).
        """

        def build_flax_model(self) -> MappedTransM3E:
            experiment = resolve(self.config.dataset_configs.experiment)
            spec = dataclasses.replace(experiment.model, num_regions=self.dataset_meta_data["num_classes"])
            inputs = self.dataset_meta_data["inputs"].items()
            self._loss = experiment.loss
            return MappedTransM3E(spec, tuple((name, shape, str(dtype)) for name, (shape, dtype) in inputs))

        def loss_function(self, logits: ModelOutput, batch: Mapping[str, Any], model_params: Any = None) -> jax.Array:
            """Our objective over the clips of all devices; () float32, the same on each."""
            del model_params
            return self._terms(logits, batch)["loss"]

        def get_metrics_fn(self, split: str | None = None) -> Callable[..., Any]:
            """A function (output, batch) -> {name: (sum over clips, number of clips)}."""
            scenics = super().get_metrics_fn(split)

            def metrics(output: ModelOutput, batch: Mapping[str, Any]) -> dict[str, tuple[jax.Array, jax.Array]]:
                num_clips = jax.lax.psum(batch["batch_mask"].sum(), AXIS)
                means = self._terms(output, batch)
                ours = {name: (mean * num_clips, num_clips) for name, mean in means.items() if name.count("/") == 0}
                return scenics(output.logits, batch) | ours

            return metrics

        def default_flax_model_config(self) -> Any:
            """The configuration of `configs/scenic/transm3e.py:smoke`, of the smallest model."""
            return scenic_config("transm3e:smoke")

        def _terms(self, output: ModelOutput, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
            output, muscles, valid = whole_batch((output, batch["label"], batch["batch_mask"]))
            return objective(output, muscles, valid > 0, self._loss)[1]

    return MuscleMapModel


SCENICS = {
    "vivit_multilabel_classification": "scenic.projects.vivit.model",
    "token_learner_multilabel_classification": "scenic.projects.token_learner.model",
}
"""Names of Scenic's video models, and where they are; they take `dataset_configs.inputs="video"`."""


def find_model_class(name: str) -> type:
    """The class of `config.model_name`: ours, or one of Scenic's.

    Raises:
      UserError: Scenic is not installed, or there is no such model.
    """
    if name == MODEL:
        return model_class()
    try:
        return scenic_module(SCENICS.get(name, "scenic.model_lib.models")).get_model_cls(name)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"config.model_name: expected {MODEL}, {', '.join(SCENICS)} or one of scenic.model_lib.models, got {name!r}"
        ) from error
